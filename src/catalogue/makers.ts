/**
 * What can have published an event, as far as other events show it: its `source`, or for an emission the consumers and
 * rules that read its cause. The number of remembered ids is bounded.
 */
import { LIMITS } from '../base/limits.ts'

/** The parts of an event that show who published it. */
export interface EventFacts {
  readonly channel: string
  readonly id: string
  readonly source: string
  readonly causationid: string | null
  readonly timeMs: number
}

/** Which consumers and rules can have caused an event. */
export interface Readers {
  /** The consumers of a channel. */
  consumersOf(channel: string): readonly string[]
  /** The rules that read one channel and write to the other. */
  rulesBetween(from: string, to: string): readonly string[]
}

export interface Maker {
  readonly kind: 'source' | 'consumer' | 'rule'
  readonly name: string
}

export class Makers {
  /** The channels in which an id was seen, by id. The oldest ids are forgotten first. */
  readonly #channelsOfId = new Map<string, readonly string[]>()

  remember({ id, channel }: Pick<EventFacts, 'id' | 'channel'>): void {
    const known = this.#channelsOfId.get(id) ?? []
    if (known.includes(channel) || known.length >= 4) return
    this.#channelsOfId.delete(id)
    this.#channelsOfId.set(id, [...known, channel])
    if (this.#channelsOfId.size <= LIMITS.flowIdsMax) return
    const [oldest] = this.#channelsOfId.keys()
    if (oldest !== undefined) this.#channelsOfId.delete(oldest)
  }

  /** What can have published the event; empty if its cause is not known. */
  of({ channel, id, source, causationid }: EventFacts, readers: Readers): readonly Maker[] {
    const copied = (this.#channelsOfId.get(id) ?? []).flatMap((other) =>
      other === channel ? [] : readers.rulesBetween(other, channel),
    )
    if (copied.length > 0) return makers('rule', copied)
    if (causationid === null) return makers('source', [source])
    const causes = this.#channelsOfId.get(causationid) ?? []
    const rules = causes.flatMap((cause) => readers.rulesBetween(cause, channel))
    if (rules.length > 0) return makers('rule', rules)
    return makers(
      'consumer',
      causes.flatMap((cause) => readers.consumersOf(cause)),
    )
  }
}

function makers(kind: Maker['kind'], names: readonly string[]): readonly Maker[] {
  return [...new Set(names)].map((name) => ({ kind, name }))
}
