/**
 * Makes the rows of a slot from two descriptions of the broker. What a description counts since a beginning (offsets)
 * is compared with the one before.
 */
import type { BrokerDescription, ChannelDescription, ConsumerDescription } from '../broker/description.ts'
import { type ChannelFigure, type ConsumerFigure, figuresOf, type ObjectKind, type Row } from './figures.ts'

type Described = Pick<BrokerDescription, 'channels' | 'consumers'>

export class Sampler {
  /** The next offset of each channel, in the description before; null before the first one. */
  #offsets: ReadonlyMap<string, number> | null = null

  /** `share` is the part of the time since the description before that the slot has: 1, or less after a gap. */
  rows({ channels, consumers }: Described, stepMs: number, share: number): Row[] {
    const before = this.#offsets
    const seen = channels.filter(({ name }) => !name.startsWith('$'))
    this.#offsets = new Map(seen.map(({ name, next }) => [name, next]))
    return [
      ...seen.map((channel) => channelRow(channel, before, share)),
      ...consumers.map((consumer) => consumerRow(consumer, stepMs)),
    ]
  }
}

function channelRow(
  { name, next, bytes, scheduled }: ChannelDescription,
  before: ReadonlyMap<string, number> | null,
  share: number,
): Row {
  const known = before?.get(name) ?? 0
  // A channel whose offset went back was removed and made again.
  const published = before === null ? 0 : next >= known ? next - known : next
  return row('channel', name, { published: published * share, bytes: bytes ?? 0, scheduled } satisfies Readonly<
    Record<ChannelFigure, number>
  >)
}

function consumerRow(consumer: ConsumerDescription, stepMs: number): Row {
  const { name, channels, inFlight, retrying, deadLetters, instances, rate } = consumer
  return row('consumer', name, {
    completed: (rate * stepMs) / 1000,
    lag: channels.reduce((sum, { lag }) => sum + lag, 0),
    lagMs: Math.max(0, ...channels.map(({ lagMs }) => lagMs)),
    inFlight,
    retrying,
    deadLetters,
    instances,
  } satisfies Partial<Record<ConsumerFigure, number>>)
}

function row(kind: ObjectKind, name: string, figures: Readonly<Record<string, number>>): Row {
  return { kind, name, values: figuresOf(kind).map(([figure]) => figures[figure] ?? 0) }
}
