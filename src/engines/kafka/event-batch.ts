/** The events of one append as a record batch. Events that this process has just encoded are not parsed again. */
import { Encoded } from '../../event/encode.ts'
import type { AppendItem, ChannelEntry } from '../../external-log/log-backend.ts'
import type { KeptEvent } from './chunk-cache.ts'
import { fromRecord, readyHeaders, readyNote, recordKeyOf, toRecord } from './event-record.ts'
import { type BatchTools, BatchWriter, decodeBatches, type ProducerStamp } from './record-batch.ts'

/** Own batches are never compressed. */
const NOT_COMPRESSED = {
  decompress: (): never => {
    throw new Error('a batch that was written here is not compressed')
  },
}

/** The records of these events. `seen`: the writer knows all ids of the log before this offset. */
export function encodeEvents(
  items: readonly AppendItem[],
  { spec, partitions }: ChannelEntry,
  seen: number,
  producer: ProducerStamp,
  tools: Pick<BatchTools, 'crc32c'>,
): Buffer {
  const batch = new BatchWriter(items.length, Date.now(), producer)
  const byKey = spec.retain.latestByKey
  /** Headers by partition; the first list is for events that are deduplicated. */
  const notes: string[] = []
  for (const { partition, event, dedupeId } of items) {
    const note = { partition, partitions, seen: dedupeId === null ? null : seen }
    const headers = event instanceof Encoded ? readyHeaders(event) : null
    if (headers === null) {
      batch.add(toRecord(event, note, byKey))
      continue
    }
    const which = dedupeId === null ? partitions + partition : partition
    notes[which] ??= readyNote(note)
    batch.addReady(recordKeyOf(event, byKey), (event as Encoded).dataText, headers + (notes[which] as string))
  }
  return batch.finish(tools)
}

/** The events of such a batch after it was stored. */
export function eventsOf(batch: Buffer, base: number, timeMs: number, entry: ChannelEntry): KeptEvent[] {
  const { records } = decodeBatches(batch, 0, NOT_COMPRESSED)
  return records.map((record) => {
    const offset = base + record.offset
    const { event, partition } = fromRecord({ ...record, offset, base }, entry)
    return { offset, timeMs, partition, event }
  })
}
