/** The id of a consumer log names the consumer (or the queue workers), the channel and the partition. */
import type { ChannelEntry } from '../log-backend.ts'

export function consumerLogOf(group: string, channel: string, partition: number): string {
  return `${group}/${channel}/${partition}`
}

/**
 * What the id of a consumer log names, or null if the channel has no such partition. Another client may have made the
 * consumer log.
 */
export function consumerLogIn(
  id: string,
  entryOf: (channel: string) => ChannelEntry | undefined,
): { readonly group: string; readonly entry: ChannelEntry; readonly partition: number } | null {
  const [group = '', channel = '', partition = ''] = id.split('/')
  const entry = entryOf(channel)
  return entry === undefined || !/^\d+$/.test(partition) || Number(partition) >= entry.partitions
    ? null
    : { group, entry, partition: Number(partition) }
}
