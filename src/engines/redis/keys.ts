/**
 * The names of what Millrace keeps in Redis. Everything of one prefix carries the hash tag `{prefix}`, so that in a cluster one node has it all and
 * a script can touch any of it.
 *
 * | key | type | what |
 * | --- | --- | --- |
 * | `{p}:channels` | hash | name → the channel's entry as JSON |
 * | `{p}:channel:NAME` | hash | next offset, counters, limits |
 * | `{p}:stream:NAME:PARTITION` | stream | the events; an id is `offset-milliseconds` |
 * | `{p}:in:NAME` | stream | where plain clients write; taken in and deleted |
 * | `{p}:ids:NAME:0`, `:1` | hash | the window of known ids: this generation and the one before |
 * | `{p}:keys:NAME` | hash | key → id of its latest event, where only that is kept |
 * | `{p}:marks:NAME` | list | where so many bytes ended, where a number of bytes is kept |
 * | `{p}:journals` | set | ids of consumer logs |
 * | `{p}:journal:ID` | stream | entries; an id is `version-0` |
 * | `{p}:members:GROUP` | hash | member → until when, and what it said |
 * | `{p}:bell:NAME` | pub/sub | told of every append: `sender partition:next,…` |
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
