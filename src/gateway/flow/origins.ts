/**
 * Where the events of each channel come from, as far as samples show it: their `source`, and for emissions of consumers
 * and rules their `causationid`. The numbers of channels, origins and remembered ids are bounded.
 */
import { LIMITS } from '../../base/limits.ts'
import { type EventFacts, type Maker, Makers, type Readers } from '../../catalogue/makers.ts'

export interface Origin {
  readonly kind: Maker['kind']
  readonly name: string
  /** The origin's share of the channel's recent events, from 0 to 1. */
  readonly share: number
  readonly lastMs: number
  readonly certain: boolean
}

/** An origin of a channel, as it is saved. */
export interface SavedOrigin {
  readonly channel: string
  readonly kind: Origin['kind']
  readonly name: string
  readonly certain: boolean
  readonly weight: number
  readonly lastMs: number
}

interface Weight {
  readonly kind: Origin['kind']
  readonly name: string
  readonly certain: boolean
  weight: number
  lastMs: number
  /** When it was restored, else 0. It counts as seen then, because nothing could see it while no process ran. */
  keptMs: number
}

/** Before each new sample, earlier weights are multiplied by this, so the shares follow recent events. */
const FADING = 0.7

export class Origins {
  readonly #byChannel = new Map<string, Map<string, Weight>>()
  readonly #makers = new Makers()

  /** Learn from sampled events of several channels. The events of one channel are in order. */
  learn(facts: readonly EventFacts[], readers: Readers): void {
    for (const fact of facts) this.#makers.remember(fact)
    for (const [channel, weights] of this.#byChannel)
      if (facts.some((fact) => fact.channel === channel)) for (const each of weights.values()) each.weight *= FADING
    for (const fact of facts) this.#count(fact, readers)
  }

  of(channel: string): Origin[] {
    const weights = [...(this.#byChannel.get(channel)?.values() ?? [])]
    const total = weights.reduce((sum, { weight }) => sum + weight, 0)
    return weights.map(({ kind, name, certain, weight, lastMs }) => ({
      kind,
      name,
      certain,
      lastMs,
      share: total === 0 ? 0 : weight / total,
    }))
  }

  get saved(): SavedOrigin[] {
    return [...this.#byChannel].flatMap(([channel, weights]) =>
      [...weights.values()].map(({ keptMs: _, ...weight }) => ({ channel, ...weight })),
    )
  }

  /** Add what an earlier process has seen. */
  restore(saved: readonly SavedOrigin[], nowMs: number): void {
    for (const { channel, kind, name, certain, weight, lastMs } of saved)
      this.#add({ channel, timeMs: lastMs }, kind, name, certain, weight, nowMs)
  }

  /** Forget channels that were removed, and origins that were last seen before a time. */
  forget(there: ReadonlySet<string>, beforeMs: number): void {
    for (const [channel, weights] of this.#byChannel) {
      if (!there.has(channel)) this.#byChannel.delete(channel)
      else if (weights.size > 1) {
        for (const [key, { lastMs, keptMs }] of weights) if (Math.max(lastMs, keptMs) < beforeMs) weights.delete(key)
      }
    }
  }

  #count(fact: EventFacts, readers: Readers): void {
    const made = this.#makers.of(fact, readers)
    for (const { kind, name } of made) this.#add(fact, kind, name, made.length === 1, 1 / made.length)
  }

  #add(
    { channel, timeMs }: Pick<EventFacts, 'channel' | 'timeMs'>,
    kind: Origin['kind'],
    name: string,
    certain: boolean,
    weight: number,
    keptMs = 0,
  ): void {
    const weights = this.#byChannel.get(channel) ?? new Map<string, Weight>()
    this.#byChannel.set(channel, weights)
    const key = `${kind}:${name}`
    const known = weights.get(key)
    if (known !== undefined) {
      known.weight += weight
      known.lastMs = Math.max(known.lastMs, timeMs)
      return
    }
    if (weights.size >= LIMITS.flowOriginsMax) return
    weights.set(key, { kind, name, certain, weight, lastMs: timeMs, keptMs })
  }
}
