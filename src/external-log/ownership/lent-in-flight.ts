/**
 * What was in its owner's hands when a partition was taken for a moment, to change something in it (`homes.ts`): whether the owner lives cannot be known
 * then. The record says whose hands they were, and counts for nothing until the next owner, which watches the members, decides (clause 5).
 */
import { consumerKeys, fromJson, type InFlightRecord, toJson } from '../../delivery/consumer-records.ts'
import type { RecordChange } from '../../delivery/cursor-host.ts'
import type { Ownership } from './ownership.ts'

type RecordReader = Pick<Ownership, 'get'>

function recordIn(records: RecordReader, group: string, partition: number): InFlightRecord | null {
  const bytes = records.get(consumerKeys.inFlight(group, partition))
  return bytes === undefined ? null : fromJson<InFlightRecord>(bytes)
}

/** In whose hands the events are, where the partition was taken from a member that may have died. */
export function lentBy(records: RecordReader, group: string, partition: number): string | null {
  return recordIn(records, group, partition)?.heldBy ?? null
}

/** What the claim of one who takes the partition for a moment writes of the hands of its owner. */
export function lentFrom(
  heldBy: string,
  records: RecordReader,
  group: string,
  partition: number,
): readonly RecordChange[] {
  const record = recordIn(records, group, partition)
  return record === null || record.heldBy !== undefined
    ? []
    : [[consumerKeys.inFlight(group, partition), toJson({ ...record, heldBy })]]
}

/** What is in the hands of one that lives has not killed it: it has used no attempt. Of one that died it has. Where neither is known (null), it stays open. */
export function settleLent(
  ownership: Ownership,
  group: string,
  partition: number,
  lives: (member: string) => boolean | null,
): void {
  const record = recordIn(ownership, group, partition)
  if (record?.heldBy === undefined) return
  const { heldBy, ...own } = record
  const doesLive = lives(heldBy)
  if (doesLive !== null) ownership.write(consumerKeys.inFlight(group, partition), doesLive ? null : toJson(own))
}
