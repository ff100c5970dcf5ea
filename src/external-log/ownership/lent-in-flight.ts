/**
 * The events that an owner had in flight when its partition was taken for a moment to change something in it
 * (`homes.ts`). Whether the owner lives cannot be known at that time. The record names the owner, and has no effect
 * until the next owner decides, which watches the members (clause 5).
 */
import { consumerKeys, fromJson, type InFlightRecord, toJson } from '../../delivery/consumer-records.ts'
import type { RecordChange } from '../../delivery/cursor-host.ts'
import type { Ownership } from './ownership.ts'

type RecordReader = Pick<Ownership, 'get'>

function recordIn(records: RecordReader, group: string, partition: number): InFlightRecord | null {
  const bytes = records.get(consumerKeys.inFlight(group, partition))
  return bytes === undefined ? null : fromJson<InFlightRecord>(bytes)
}

/** The member that has the events in flight, if the partition was taken from a member that may have died. */
export function lentBy(records: RecordReader, group: string, partition: number): string | null {
  return recordIn(records, group, partition)?.heldBy ?? null
}

/** The records that a claim for a moment writes about the events that the owner has in flight. */
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

/**
 * Events in flight at a member that lives have used no attempt. Events in flight at a member that died have used one.
 * If neither is known (null), the record stays.
 */
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
