/**
 * The keys of Millrace in Redis. All keys of one prefix have the hash tag `{prefix}`, so in a cluster they are on one
 * node, and a script can use all of them.
 *
 * | key | type | content |
 * | --- | --- | --- |
 * | `{p}:channels` | hash | name → the channel's entry as JSON |
 * | `{p}:channel:NAME` | hash | next offset, counters, limits |
 * | `{p}:stream:NAME:PARTITION` | stream | the events; an id is `offset-milliseconds` |
 * | `{p}:stream:~dead.….…:PARTITION` | stream | the texts of a consumer's dead letters in a channel |
 * | `{p}:in:NAME` | stream | the inbox of plain clients; its entries are taken in and deleted |
 * | `{p}:ids:NAME:0`, `:1` | hash | the window of known ids: this generation and the one before |
 * | `{p}:keys:NAME` | hash | key → entry id of its latest event, if only that is kept |
 * | `{p}:marks:NAME` | list | offsets at certain numbers of bytes, if retention is by bytes |
 * | `{p}:journals` | set | ids of consumer logs |
 * | `{p}:journal:ID` | stream | a consumer log: its entries; an id is `version-0` |
 * | `{p}:members:GROUP` | hash | member → its last heartbeat, and when it expires |
 * | `{p}:bell:NAME` | pub/sub | notifications of appends: `sender partition:next,…` |
 */
export class Keys {
  readonly base: string
  readonly channels: string
  readonly consumerLogs: string

  constructor(prefix: string) {
    this.base = `{${prefix}}:`
    this.channels = `${this.base}channels`
    this.consumerLogs = `${this.base}journals`
  }

  channel(name: string): string {
    return `${this.base}channel:${name}`
  }

  stream(name: string, partition: number): string {
    return `${this.base}stream:${name}:${partition}`
  }

  inbox(name: string): string {
    return `${this.base}in:${name}`
  }

  consumerLog(id: string): string {
    return `${this.base}journal:${id}`
  }

  members(group: string): string {
    return `${this.base}members:${group}`
  }

  bell(name: string): string {
    return `${this.base}bell:${name}`
  }
}
