/** Discovery (clause 17) of channels over a backend. */
import type { ChannelDescription, ChannelState } from '../broker/description.ts'
import { QUEUE_GROUP } from '../delivery/consumer-records.ts'
import { settledIn } from '../delivery/consumers/carried-state.ts'
import { fold } from './consumer-log/consumer-log-entry.ts'
import { consumerLogOf } from './consumer-log/consumer-log-name.ts'
import { channelOf, SCHEDULE } from './delay/scheduler.ts'
import type { ChannelEntry, LogBackend } from './log-backend.ts'

export interface DescribedChannels {
  readonly backend: LogBackend
  readonly entries: readonly ChannelEntry[]
  /** Events a second that this process publishes to a channel. The rates of other processes are not known. */
  rate(channel: string): number
}

export async function describeChannels(engine: DescribedChannels): Promise<ChannelDescription[]> {
  const waiting = await scheduledByChannel(engine)
  return Promise.all(
    engine.entries.map(async (entry) => ({
      ...(await stateOf(entry, engine)),
      scheduled: waiting.get(entry.spec.name) ?? 0,
    })),
  )
}

/** The number of delayed events that wait, by channel. */
async function scheduledByChannel({ backend }: DescribedChannels): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  const { entries } = await backend.readConsumerLog(consumerLogOf(QUEUE_GROUP, SCHEDULE, 0))
  const done = settledIn(fold(entries).records, QUEUE_GROUP, 0)
  if (done === null) return counts
  let offset = done.floor
  for (;;) {
    const found = await backend.read(SCHEDULE, 0, offset, { count: 1000, bytes: 8 * 1024 * 1024 })
    for (const record of found) {
      const channel = channelOf(record.event)
      if (!done.has(record.offset)) counts.set(channel, (counts.get(channel) ?? 0) + 1)
    }
    const last = found.at(-1)
    if (last === undefined) return counts
    offset = last.offset + 1
  }
}

/** One channel, without the number of its delayed events: they wait in one queue with those of all channels. */
export async function stateOf(
  entry: ChannelEntry,
  { backend, rate }: Omit<DescribedChannels, 'entries'>,
): Promise<ChannelState> {
  const { name, kind, types } = entry.spec
  const [{ first, next }, bytes] = await Promise.all([backend.bounds(name, null), backend.bytes(name)])
  return { name, kind, types, first, next, bytes, rate: rate(name) }
}
