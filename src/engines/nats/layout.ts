/**
 * Names on the servers: the streams of channels, and the subjects of events, consumer logs and members' notes.
 *
 *     stream  PREFIX_CHANNEL           channel `orders.eu` of prefix `millrace`: `millrace_orders~eu`
 *     subject PREFIX.CHANNEL           where plain clients publish; the server stores it as partition 0
 *             PREFIX.CHANNEL.~.N       events of partition N
 *             PREFIX.CHANNEL.~.N.KEY   the same in a channel that keeps the latest of each key
 *     stream  PREFIX_~journals         consumer logs: subject PREFIX.~j.ID
 *     stream  PREFIX_~members          subject PREFIX.~m.GROUP.MEMBER, in memory
 *
 * The names of people contain no `~`, so no two of these are equal.
 */

/** Characters outside of these sets are percent-encoded, byte by byte. */
const ENCODE = /[^A-Za-z0-9_$/~-]/gu
const ENCODE_KEY = /[^A-Za-z0-9_$/:@=-]/gu

function percent(char: string): string {
  let text = ''
  for (const byte of Buffer.from(char)) text += `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return text
}

function tokenOf(text: string): string {
  return text.replace(ENCODE, percent)
}

/** The text that a token of a subject stands for. A token of another client that is not encoded stands for itself. */
function textOf(token: string): string {
  try {
    return decodeURIComponent(token)
  } catch {
    return token
  }
}

export class Layout {
  readonly prefix: string
  readonly consumerLogs: string
  readonly members: string

  constructor(prefix: string) {
    this.prefix = prefix
    this.consumerLogs = `${prefix}_~journals`
    this.members = `${prefix}_~members`
  }

  stream(channel: string): string {
    return `${this.prefix}_${channel.replaceAll('.', '~')}`
  }

  /** The subject to which plain clients publish. */
  inbox(channel: string): string {
    return `${this.prefix}.${channel}`
  }

  /** The beginning of every event's subject. The partition follows. */
  base(channel: string): string {
    return `${this.prefix}.${channel}.~.`
  }

  subjects(channel: string, byKey: boolean): string[] {
    return byKey ? [`${this.base(channel)}*.*`] : [this.inbox(channel), `${this.base(channel)}*`]
  }

  /** Matches the events of a partition, or of all partitions. */
  filter(channel: string, partition: number | null, byKey: boolean): string {
    return `${this.base(channel)}${partition ?? '*'}${byKey ? '.*' : ''}`
  }

  /**
   * The subject of an event. In a channel that keeps the latest of each key, `unique` distinguishes an event without a
   * key.
   */
  subject(channel: string, partition: number, byKey: boolean, key: string | null, unique: () => string): string {
    const base = `${this.base(channel)}${partition}`
    if (!byKey) return base
    return `${base}.${key === null ? `~${unique()}` : key.replace(ENCODE_KEY, percent) || '%'}`
  }

  consumerLog(id: string): string {
    return `${this.prefix}.~j.${tokenOf(id)}`
  }

  consumerLogId(subject: string): string {
    return textOf(subject.slice(this.prefix.length + 4))
  }

  member(group: string, member: string): string {
    return `${this.prefix}.~m.${tokenOf(group)}.${tokenOf(member)}`
  }

  memberOf(subject: string): string {
    return textOf(subject.slice(subject.lastIndexOf('.') + 1))
  }
}
