/**
 * A history: steps drawn from a seed. A step names workers and events by numbers modulo how many there are, so that
 * it stays valid when other steps are left out.
 */
import type { ConsumerSpec, FlowLimit, OnDead } from '../../../src/broker/engine.ts'
import { type Random, randomFrom } from '../../../src/testing/conformance/random.ts'
import { type ChannelSetup, keyInText } from './sim-log.ts'

export type Verb = 'complete' | 'retry' | 'deadLetter' | 'release'
export type QueryKind = 'all' | 'channel' | 'offset' | 'id' | 'key' | 'limit' | 'key and limit'

export type Step =
  /** An event is its key (−1: none) and its type; null is a hole. */
  | {
      readonly do: 'publish'
      readonly channel: number
      readonly events: readonly (readonly [key: number, type: number] | null)[]
    }
  | { readonly do: 'settle'; readonly pick: number; readonly verb: Verb; readonly delayMs: number }
  /** Settle deliveries that were revoked. */
  | { readonly do: 'late'; readonly pick: number; readonly verb: Verb }
  | { readonly do: 'commit' }
  | { readonly do: 'read'; readonly pick: number }
  | { readonly do: 'evict' }
  | { readonly do: 'pass'; readonly ms: number }
  | { readonly do: 'jump'; readonly ms: number }
  | { readonly do: 'start'; readonly consumer: number }
  | { readonly do: 'stop' | 'pause' | 'resume' | 'hang' | 'wake'; readonly pick: number }
  | {
      readonly do: 'redrive' | 'drop'
      readonly consumer: number
      readonly by: QueryKind
      readonly pick: number
      readonly limit: number
    }
  | { readonly do: 'rewind'; readonly consumer: number; readonly channel: number; readonly at: number }
  | { readonly do: 'retain'; readonly channel: number; readonly count: number }
  | { readonly do: 'compact'; readonly channel: number }
  | { readonly do: 'crash'; readonly survive: boolean }

export interface Setup {
  /** Records and letters behave as on servers. */
  readonly near: boolean
  readonly channels: readonly ChannelSetup[]
  readonly consumers: readonly ConsumerSpec[]
  /** The consumers have the limits of `withLimits`. */
  readonly limited?: boolean
}

export interface History {
  readonly setup: Setup
  readonly steps: readonly Step[]
}

export const TYPES = ['a', 'b'] as const
export const KEYS = ['k', 'l', 'm'] as const
export const LEASE_MS = 1000
const STEPS_MAX = 60

function oneOf<T>(random: Random, from: readonly T[]): T {
  return from[random.below(from.length)] as T
}

export function historyFrom(seed: number): History {
  const random = randomFrom(seed)
  const setup = setupFrom(random)
  const count = 8 + random.below(STEPS_MAX - 8)
  const steps: Step[] = [{ do: 'start', consumer: 0 }]
  // Half of the histories prefer one kind of step.
  const favourite = random.chance(0.5) ? random.below(WEIGHTS.length) : -1
  while (steps.length < count) steps.push(stepFrom(random, setup, favourite))
  return { setup, steps }
}

/**
 * The same history for consumers with a key of their own: the channels have other keys, and the consumers find the keys
 * of the history in the texts.
 */
export function withOwnKeys({ setup, steps }: History): History {
  const channels = setup.channels.map((channel) => ({ ...channel, latestByKey: false, otherKeys: true }))
  const consumers = setup.consumers.map((spec) => ({ ...spec, keyOf: keyInText }))
  return { setup: { ...setup, channels, consumers }, steps }
}

/** How many events of one type may be in flight in a history with limits. */
const TYPE_LIMIT = 2

/** What is wrong with the types of the events in flight in a history with limits; null if nothing is. */
export function overLimit(inFlight: readonly string[]): string | null {
  const over = TYPES.find((type) => inFlight.filter((each) => each === type).length > TYPE_LIMIT)
  return over === undefined ? null : `more than ${TYPE_LIMIT} events of type ${over} are in flight`
}

/**
 * The same history for consumers with limits: all together have up to `TYPE_LIMIT` events of one type in flight, and
 * each begins two events at once and then one every 20 ms.
 */
export function withLimits({ setup, steps }: History): History {
  const consumers = setup.consumers.map((spec) => ({
    ...spec,
    limits: [
      { kind: 'concurrency', name: 'of-type', max: TYPE_LIMIT, perMs: 0, burst: 0, keyOf: ({ type }) => type },
      { kind: 'rate', name: `${spec.name}~rate`, max: 1, perMs: 20, burst: 2 },
    ] satisfies FlowLimit[],
  }))
  return { setup: { ...setup, consumers, limited: true }, steps }
}

function setupFrom(random: Random): Setup {
  const channels = Array.from({ length: random.chance(0.3) ? 2 : 1 }, (_, at): ChannelSetup => {
    const kind = random.chance(0.3) ? 'queue' : 'stream'
    return { name: `c${at}`, kind, latestByKey: kind === 'stream' && random.chance(0.15) }
  })
  const count = random.chance(0.3) ? 2 : 1
  // Two consumers mostly have two names; in some histories they are two versions of one consumer.
  const sameName = random.chance(0.2)
  const consumers = Array.from({ length: count }, (_, at): ConsumerSpec => {
    // The last worker of a queue handles all types that are left.
    const some = at < count - 1 || (channels.every(({ kind }) => kind === 'stream') && random.chance(0.2))
    const wants = some ? [{ type: TYPES[at % 2] as string, pattern: null }] : [{ type: null, pattern: null }]
    return {
      name: sameName ? 'one' : (['one', 'two'][at % 2] as string),
      channels: channels.map(({ name }) => name),
      wants,
      from: { at: random.chance(0.1) ? 'end' : 'beginning' },
      onDead: oneOf<OnDead | null>(random, [null, 'park', 'park', 'skip', 'block']),
      credit: oneOf(random, [1, 2, 4, 16]),
      perKey: oneOf(random, [1, 1, 3]),
      leaseMs: LEASE_MS,
      attemptsMax: oneOf(random, [1, 3]),
      stallMs: 30_000,
    }
  })
  return { near: random.chance(0.4), channels, consumers }
}

type Draw = (random: Random, setup: Setup) => Step

const pick = (random: Random): number => random.below(1000)
const channel = (random: Random, { channels }: Setup): number => random.below(channels.length)
const consumer = (random: Random, { consumers }: Setup): number => random.below(consumers.length)

/** The weight of each kind of step. */
const WEIGHTS: readonly (readonly [weight: number, draw: Draw])[] = [
  [
    20,
    (random, setup) => {
      const event = (): readonly [number, number] | null =>
        random.chance(0.1)
          ? null
          : [
              random.chance(0.25) ? -1 : random.below(KEYS.length - (random.chance(0.6) ? 2 : 0)),
              random.chance(0.2) ? 1 : 0,
            ]
      return {
        do: 'publish',
        channel: channel(random, setup),
        events: Array.from({ length: random.chance(0.1) ? 8 : 1 + random.below(3) }, event),
      }
    },
  ],
  [22, (random) => ({ do: 'settle', pick: pick(random), verb: 'complete', delayMs: 0 })],
  [6, (random) => ({ do: 'settle', pick: pick(random), verb: 'retry', delayMs: oneOf(random, [0, 10, 500, 5000]) })],
  [8, (random) => ({ do: 'settle', pick: pick(random), verb: 'deadLetter', delayMs: 0 })],
  [4, (random) => ({ do: 'settle', pick: pick(random), verb: 'release', delayMs: 0 })],
  [
    1,
    (random) => ({
      do: 'late',
      pick: pick(random),
      verb: oneOf<Verb>(random, ['complete', 'retry', 'deadLetter', 'release']),
    }),
  ],
  [14, () => ({ do: 'commit' })],
  [8, (random) => ({ do: 'read', pick: pick(random) })],
  [8, () => ({ do: 'evict' })],
  [6, (random) => ({ do: 'pass', ms: oneOf(random, [1, 6, 100, 500, 2500]) })],
  [3, (random, setup) => ({ do: 'start', consumer: consumer(random, setup) })],
  [2, (random) => ({ do: oneOf(random, ['stop', 'pause', 'hang'] as const), pick: pick(random) })],
  [3, (random) => ({ do: oneOf(random, ['resume', 'wake'] as const), pick: pick(random) })],
  [
    6,
    (random, setup) => {
      const by = oneOf<QueryKind>(random, ['all', 'all', 'channel', 'offset', 'id', 'key', 'limit', 'key and limit'])
      return {
        do: random.chance(0.75) ? 'redrive' : 'drop',
        consumer: consumer(random, setup),
        by,
        pick: pick(random),
        limit: 1 + random.below(3),
      }
    },
  ],
  [
    1,
    (random, setup) => ({
      do: 'rewind',
      consumer: consumer(random, setup),
      channel: channel(random, setup),
      at: pick(random),
    }),
  ],
  [1, (random, setup) => ({ do: 'retain', channel: channel(random, setup), count: 1 + random.below(6) })],
  [1, (random, setup) => ({ do: 'compact', channel: channel(random, setup) })],
  [2, (random) => ({ do: 'crash', survive: random.chance(0.4) })],
]

function stepFrom(random: Random, setup: Setup, favourite: number): Step {
  const total = WEIGHTS.reduce((sum, [weight]) => sum + weight, 0)
  let left = random.below(total + 10)
  for (const [weight, draw] of WEIGHTS) {
    if (left < weight) return draw(random, setup)
    left -= weight
  }
  return (WEIGHTS[favourite]?.[1] ?? (WEIGHTS[0] as (typeof WEIGHTS)[number])[1])(random, setup)
}

export function describeStep(step: Step): string {
  const { do: what, ...rest } = step
  return `${what} ${JSON.stringify(rest)}`
}
