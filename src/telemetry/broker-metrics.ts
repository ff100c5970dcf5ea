/**
 * The metrics of a broker: what this process counts, and the numbers of `describe()`. Names are those of
 * OpenTelemetry's messaging conventions, in Prometheus form. Metrics that the conventions do not have begin with
 * `millrace_`.
 */
import { LIMITS } from '../base/limits.ts'
import { VERSION } from '../base/version.ts'
import type {
  BrokerDescription,
  ChannelDescription,
  ConsumerDescription,
  ConsumerPosition,
} from '../broker/description.ts'
import { isOwn, type Meter } from './meter.ts'
import type { Family, HistogramSample, Labels, Sample } from './prometheus-text.ts'
import { OPERATION, systemOf } from './semantic-conventions.ts'
import { OTHER } from './series.ts'

/** Which channels the reader may see. */
export type Visible = (channel: string) => boolean

export function metricFamilies(meter: Meter, description: BrokerDescription, visible: Visible): Family[] {
  const system = systemOf(description.engine)
  return [
    ...published(meter, system, visible),
    ...consumed(meter, system, visible),
    ...channelFamilies(description.channels.filter(({ name }) => shown(name, visible))),
    ...consumerFamilies(description.consumers, visible),
    {
      name: 'millrace_alarms',
      type: 'gauge',
      help: 'Alarms that last, by code.',
      samples: alarms(description),
    },
    {
      name: 'millrace_build',
      type: 'gauge',
      help: 'Always 1: the version of Millrace and the engine.',
      samples: [[{ version: VERSION, engine: description.engine }, 1]],
    },
  ]
}

/** Whether a channel is reported. Millrace's own channels never are, because their traffic is not the application's. */
function shown(channel: string, visible: Visible): boolean {
  return !isOwn(channel) && (channel === OTHER || visible(channel))
}

function published(meter: Meter, system: string, visible: Visible): Family[] {
  const messages: Sample[] = []
  const calls: HistogramSample[] = []
  const commits: HistogramSample[] = []
  for (const series of meter.published) {
    if (!shown(series.channel, visible)) continue
    const labels = {
      messaging_system: system,
      messaging_operation_name: OPERATION.publish,
      messaging_destination_name: series.channel,
    }
    messages.push([labels, series.messages])
    for (const [error, count] of series.failed) messages.push([{ ...labels, error_type: error }, count])
    const { first: call, second: commit } = series.durations
    if (call.count > 0) calls.push([labels, call])
    if (commit.count > 0)
      commits.push([{ messaging_system: system, messaging_destination_name: series.channel }, commit])
  }
  return [
    {
      name: 'messaging_client_sent_messages',
      type: 'counter',
      help: 'Events that this process published or emitted; with error_type, publish calls that failed.',
      samples: messages,
    },
    {
      name: 'messaging_client_operation_duration_seconds',
      type: 'histogram',
      unit: 'seconds',
      help: 'How long publish calls of this process took.',
      samples: calls,
    },
    {
      name: 'millrace_commit_duration_seconds',
      type: 'histogram',
      unit: 'seconds',
      help: 'How long it took until events that this process published were durable.',
      samples: commits,
    },
  ]
}

function consumed(meter: Meter, system: string, visible: Visible): Family[] {
  const [messages, retries, dead, inFlight]: Sample[][] = [[], [], [], []]
  const durations: HistogramSample[] = []
  const latencies: HistogramSample[] = []
  for (const series of meter.consumed) {
    if (!shown(series.channel, visible)) continue
    const own = ofConsumer(series.consumer, series.channel)
    const labels = { messaging_system: system, messaging_operation_name: series.operation, ...own }
    messages?.push([labels, series.begun])
    for (const [error, count] of series.failed) messages?.push([{ ...labels, error_type: error }, count])
    retries?.push([own, series.retried])
    dead?.push([own, series.deadLettered])
    inFlight?.push([own, series.begun - series.ended])
    const { first: attempt, second: latency } = series.durations
    if (attempt.count > 0) durations.push([labels, attempt])
    if (latency.count > 0) latencies.push([own, latency])
  }
  return [
    {
      name: 'messaging_client_consumed_messages',
      type: 'counter',
      help: 'Events given to handlers of this process or pulled from it, each attempt; with error_type, those that failed.',
      samples: messages ?? [],
    },
    {
      name: 'messaging_process_duration_seconds',
      type: 'histogram',
      unit: 'seconds',
      help: 'How long attempts in this process took, from the call of the handler or the pull to the settlement.',
      samples: durations,
    },
    {
      name: 'millrace_consumer_latency_seconds',
      type: 'histogram',
      unit: 'seconds',
      help: 'From when an event was stored until this process had handled it.',
      samples: latencies,
    },
    {
      name: 'millrace_consumer_retries',
      type: 'counter',
      help: 'Attempts in this process that failed and are tried again.',
      samples: retries ?? [],
    },
    {
      name: 'millrace_consumer_dead_lettered',
      type: 'counter',
      help: 'Events that became dead letters in this process.',
      samples: dead ?? [],
    },
    {
      name: 'millrace_consumer_in_flight',
      type: 'gauge',
      help: 'Attempts that run in this process.',
      samples: inFlight ?? [],
    },
  ]
}

function ofConsumer(consumer: string, channel: string): Labels {
  return { messaging_consumer_group_name: consumer, messaging_destination_name: channel }
}

function channelFamilies(all: readonly ChannelDescription[]): Family[] {
  const channels = bounded<ChannelNumbers>(all, joinedChannels)
  const gauge = (name: string, help: string, value: (channel: ChannelNumbers) => number | null): Family => ({
    name,
    type: 'gauge',
    help,
    samples: channels.flatMap((channel): Sample[] => {
      const found = value(channel)
      return found === null ? [] : [[{ messaging_destination_name: channel.name }, found]]
    }),
  })
  return [
    gauge('millrace_channel_offset', 'The offset that the next event of a channel will have.', ({ next }) => next),
    gauge('millrace_channel_events', 'Events that a channel keeps, at most.', ({ first, next }) => next - first),
    {
      ...gauge('millrace_channel_size_bytes', 'Bytes of a channel, as far as they are known.', ({ bytes }) => bytes),
      unit: 'bytes',
    },
    gauge('millrace_channel_delayed', 'Events that are not due yet.', ({ scheduled }) => scheduled),
  ]
}

function consumerFamilies(all: readonly ConsumerDescription[], visible: Visible): Family[] {
  const own = all.flatMap((consumer) => {
    const channels = consumer.channels.filter(({ channel }) => shown(channel, visible))
    return channels.length === 0 ? [] : [{ ...consumer, channels }]
  })
  const consumers = bounded<ConsumerNumbers>(
    own.map((consumer) => ({ ...consumer, stalled: consumer.stalled !== null })),
    joinedConsumers,
  )
  const positions = bounded<PositionNumbers>(
    own.flatMap(({ name, channels }) => channels.map((position) => ({ name, ...position }))),
    joinedPositions,
  )
  const gauge = (name: string, help: string, value: (consumer: ConsumerNumbers) => number): Family => ({
    name,
    type: 'gauge',
    help,
    samples: consumers.map((consumer): Sample => [{ messaging_consumer_group_name: consumer.name }, value(consumer)]),
  })
  return [
    {
      name: 'millrace_consumer_lag',
      type: 'gauge',
      help: 'Events that a consumer has not settled.',
      samples: positions.map(({ name, channel, lag }): Sample => [ofConsumer(name, channel), lag]),
    },
    {
      name: 'millrace_consumer_lag_time_seconds',
      type: 'gauge',
      unit: 'seconds',
      help: 'Age of the oldest event that a consumer has not settled.',
      samples: positions.map(({ name, channel, lagMs }): Sample => [ofConsumer(name, channel), lagMs / 1000]),
    },
    gauge('millrace_consumer_dead_letters', 'Dead letters of a consumer.', ({ deadLetters }) => deadLetters),
    gauge('millrace_consumer_retrying', 'Events that wait for their next attempt.', ({ retrying }) => retrying),
    gauge('millrace_consumer_parked', 'Events that wait behind a dead letter of their key.', ({ parked }) => parked),
    gauge('millrace_consumer_instances', 'Instances of a consumer that run, in any process.', (one) => one.instances),
    gauge('millrace_consumer_paused', '1 if a consumer is paused.', ({ paused }) => Number(paused)),
    gauge('millrace_consumer_stalled', '1 if a consumer has work and makes no progress.', ({ stalled }) =>
      Number(stalled),
    ),
  ]
}

function alarms(description: BrokerDescription): Sample[] {
  const byCode = new Map<string, number>()
  for (const { code } of description.alarms) byCode.set(code, (byCode.get(code) ?? 0) + 1)
  return [...byCode].map(([code, count]): Sample => [{ code }, count])
}

/** The first items, and if there are more, one item that stands for the others. */
function bounded<Item>(items: readonly Item[], joined: (others: readonly Item[]) => Item): readonly Item[] {
  const most = LIMITS.metricSeriesMax
  return items.length <= most ? items : [...items.slice(0, most), joined(items.slice(most))]
}

/** What is reported of a channel. */
type ChannelNumbers = Pick<ChannelDescription, 'name' | 'first' | 'next' | 'bytes' | 'scheduled'>

function joinedChannels(others: readonly ChannelNumbers[]): ChannelNumbers {
  return {
    name: OTHER,
    first: sumOf(others, ({ first }) => first),
    next: sumOf(others, ({ next }) => next),
    bytes: others.every(({ bytes }) => bytes === null) ? null : sumOf(others, ({ bytes }) => bytes ?? 0),
    scheduled: sumOf(others, ({ scheduled }) => scheduled),
  }
}

/** What is reported of a consumer. */
interface ConsumerNumbers
  extends Pick<ConsumerDescription, 'name' | 'deadLetters' | 'retrying' | 'parked' | 'instances' | 'paused'> {
  readonly stalled: boolean
}

function joinedConsumers(others: readonly ConsumerNumbers[]): ConsumerNumbers {
  return {
    name: OTHER,
    deadLetters: sumOf(others, ({ deadLetters }) => deadLetters),
    retrying: sumOf(others, ({ retrying }) => retrying),
    parked: sumOf(others, ({ parked }) => parked),
    instances: sumOf(others, ({ instances }) => instances),
    paused: others.some(({ paused }) => paused),
    stalled: others.some(({ stalled }) => stalled),
  }
}

/** What is reported of a consumer in one channel. */
interface PositionNumbers extends Pick<ConsumerPosition, 'channel' | 'lag' | 'lagMs'> {
  readonly name: string
}

/** The age is that of the oldest event of all, so it is the largest, not the sum. */
function joinedPositions(others: readonly PositionNumbers[]): PositionNumbers {
  return {
    name: OTHER,
    channel: OTHER,
    lag: sumOf(others, ({ lag }) => lag),
    lagMs: others.reduce((most, { lagMs }) => Math.max(most, lagMs), 0),
  }
}

function sumOf<Item>(items: readonly Item[], of: (item: Item) => number): number {
  return items.reduce((sum, item) => sum + of(item), 0)
}
