/** The home of a consumer, or of the workers of a queue, in one partition of a channel. */
import { QUEUE_GROUP } from '../delivery/consumer-records.ts'
import type { Home } from '../delivery/consumers/homes.ts'
import { consumerLogOf } from './consumer-log/consumer-log-name.ts'
import type { ChannelEntry } from './log-backend.ts'

/** A home, with its consumer log. */
export interface PartitionHome extends Home {
  readonly consumerLog: string
  /** The id of the member group that works on the partition. */
  readonly groupId: string
  readonly entry: ChannelEntry
}

export function homeOf(group: string, entry: ChannelEntry, partition: number): PartitionHome {
  const { name } = entry.spec
  const groupId = group === QUEUE_GROUP ? `${QUEUE_GROUP}/${name}` : group
  return {
    group,
    channel: entry.spec,
    logId: partition,
    consumerLog: consumerLogOf(group, name, partition),
    groupId,
    entry,
  }
}
