/**
 * Makes the rows of a slot from two descriptions of the broker. What is counted since a beginning (offsets, and what
 * the instances of consumers count) is compared with the description before.
 */
import { percentile } from '../base/span-buckets.ts'
import type { ChannelDescription, CountedConsumer, EngineDescription, InstanceCounts } from '../broker/description.ts'
import { type ChannelFigure, type ConsumerFigure, figuresOf, type ObjectKind, type Row } from './figures.ts'

type Counts = Omit<InstanceCounts, 'instance'>

interface Before {
  /** The next offset of each channel. */
  readonly offsets: ReadonlyMap<string, number>
  readonly counts: ReadonlyMap<string, InstanceCounts>
}

const NOTHING: Counts = { delivered: 0, completed: 0, retried: 0, deadLettered: 0, latency: [], duration: [] }

export class Sampler {
  #before: Before | null = null

  /** `share` is the part of the time since the description before that the slot has: 1, or less after a gap. */
  rows(
    { channels, consumers }: Pick<EngineDescription, 'channels' | 'consumers'>,
    stepMs: number,
    share: number,
  ): Row[] {
    const before = this.#before
    const seen = channels.filter(({ name }) => !name.startsWith('$'))
    const counted = consumers.flatMap((consumer) => consumer.counted ?? [])
    this.#before = {
      offsets: new Map(seen.map(({ name, next }) => [name, next])),
      counts: new Map(counted.map((counts) => [counts.instance, counts])),
    }
    return [
      ...seen.map((channel) => channelRow(channel, before, share)),
      ...consumers.map((consumer) => consumerRow(consumer, before, stepMs, share)),
    ]
  }
}

function channelRow({ name, next, bytes, scheduled }: ChannelDescription, before: Before | null, share: number): Row {
  const known = before?.offsets.get(name) ?? 0
  // A channel whose offset went back was removed and made again.
  const published = before === null ? 0 : next >= known ? next - known : next
  return row('channel', name, { published: published * share, bytes: bytes ?? 0, scheduled } satisfies Readonly<
    Record<ChannelFigure, number>
  >)
}

function consumerRow(consumer: CountedConsumer, before: Before | null, stepMs: number, share: number): Row {
  const { name, channels, inFlight, retrying, deadLetters, instances, rate, counted } = consumer
  const since =
    before === null ? NOTHING : (counted ?? []).map((counts) => sinceOf(counts, before)).reduce(added, NOTHING)
  return row('consumer', name, {
    // A server of an earlier version gives no counts.
    completed: counted === undefined ? (rate * stepMs) / 1000 : since.completed * share,
    retried: since.retried * share,
    deadLettered: since.deadLettered * share,
    delivered: since.delivered * share,
    lag: channels.reduce((sum, { lag }) => sum + lag, 0),
    lagMs: Math.max(0, ...channels.map(({ lagMs }) => lagMs)),
    inFlight,
    retrying,
    deadLetters,
    instances,
    latencyP50: percentile(since.latency, 0.5),
    latencyP95: percentile(since.latency, 0.95),
    latencyP99: percentile(since.latency, 0.99),
    durationP50: percentile(since.duration, 0.5),
    durationP95: percentile(since.duration, 0.95),
    durationP99: percentile(since.duration, 0.99),
  } satisfies Readonly<Record<ConsumerFigure, number>>)
}

/** What an instance has counted since the description before; one that was not there has begun since. */
function sinceOf(counts: InstanceCounts, { counts: known }: Before): Counts {
  const { delivered, completed, retried, deadLettered, latency, duration } = known.get(counts.instance) ?? NOTHING
  return {
    delivered: grown(counts.delivered, delivered),
    completed: grown(counts.completed, completed),
    retried: grown(counts.retried, retried),
    deadLettered: grown(counts.deadLettered, deadLettered),
    latency: counts.latency.map((count, bucket) => grown(count, latency[bucket] ?? 0)),
    duration: counts.duration.map((count, bucket) => grown(count, duration[bucket] ?? 0)),
  }
}

/** Another client may have written what a process reports on a server: what is no count is nothing. */
function grown(now: number, before: number): number {
  return Number.isFinite(now - before) ? Math.max(0, now - before) : 0
}

function added(one: Counts, other: Counts): Counts {
  const joined = (a: readonly number[], b: readonly number[]): number[] =>
    Array.from({ length: Math.max(a.length, b.length) }, (_, bucket) => (a[bucket] ?? 0) + (b[bucket] ?? 0))
  return {
    delivered: one.delivered + other.delivered,
    completed: one.completed + other.completed,
    retried: one.retried + other.retried,
    deadLettered: one.deadLettered + other.deadLettered,
    latency: joined(one.latency, other.latency),
    duration: joined(one.duration, other.duration),
  }
}

function row(kind: ObjectKind, name: string, figures: Readonly<Record<string, number>>): Row {
  return { kind, name, values: figuresOf(kind).map(([figure]) => figures[figure] ?? 0) }
}
