/**
 * Translates between a consumer's records in one log and the form in which its state is carried to another engine.
 * Offsets are not changed here: the copy translates them.
 */

import { OffsetSet } from '../../base/offset-set.ts'
import type { CarriedConsumer, CarriedLetter } from '../../broker/carriage.ts'
import {
  type ChainRecord,
  consumerKeys,
  type DeadRecord,
  fromFloat,
  fromJson,
  type InFlightRecord,
  lastNumber,
  OFFSET_TABLES,
  type RetryRecord,
  toFloat,
  toJson,
  under,
} from '../consumer-records.ts'
import type { RecordChange } from '../cursor-host.ts'
import type { LetterReader } from '../dead/letter-records.ts'

/** Reads records. */
export interface Records {
  get(key: string): Uint8Array | undefined
  range(from: string, to: string, limit?: number): [string, Uint8Array][]
}

/** What a consumer has settled in one log, without the names of consumer and channel. */
export type CarriedProgress = Pick<CarriedConsumer, 'floor' | 'settled' | 'retries' | 'inFlight'>

/** The settled offsets of a consumer in a log; null where the consumer never began. */
export function settledIn(records: Records, group: string, logId: number): OffsetSet | null {
  const floor = records.get(consumerKeys.cursor(group, logId))
  if (floor === undefined) return null
  const done = new OffsetSet(fromFloat(floor))
  for (const [key, bytes] of records.range(...under(consumerKeys.table('b', group, logId))))
    done.load(lastNumber(key), bytes)
  return done
}

export function retriesIn(records: Records, group: string, logId: number): CarriedProgress['retries'] {
  return records
    .range(...under(consumerKeys.table('r', group, logId)))
    .map(([key, bytes]) => ({ offset: lastNumber(key), ...fromJson<RetryRecord>(bytes) }))
}

export function inFlightIn(records: Records, group: string, logId: number): InFlightRecord | null {
  const bytes = records.get(consumerKeys.inFlight(group, logId))
  return bytes === undefined ? null : fromJson<InFlightRecord>(bytes)
}

/** A page of kept events from an offset on. `texts` reads their texts where the records do not have them. */
export async function lettersIn(
  records: Records,
  group: string,
  logId: number,
  fromOffset: number,
  limit: { readonly count: number; readonly bytes: number },
  texts?: LetterReader,
): Promise<CarriedLetter[]> {
  const letters: CarriedLetter[] = []
  let bytes = 0
  const [, end] = under(consumerKeys.table('k', group, logId))
  const chains = new Map(
    records
      .range(consumerKeys.chain(group, logId, fromOffset), end, limit.count)
      .map(([key, chain]) => [lastNumber(key), chain]),
  )
  for await (const [offset, dead] of texts?.load([...chains.keys()]) ?? deadIn(records, group, logId, chains.keys())) {
    const { state, key: chain, blocks } = fromJson<ChainRecord>(chains.get(offset) as Uint8Array)
    letters.push({ offset, ...dead, state, attempts: state === 'dead' ? dead.attempts : 0, chain, blocks })
    bytes += dead.text.length
    if (bytes >= limit.bytes) break
  }
  return letters
}

function* deadIn(
  records: Records,
  group: string,
  logId: number,
  offsets: Iterable<number>,
): Generator<readonly [offset: number, record: DeadRecord]> {
  for (const offset of offsets) {
    const dead = records.get(consumerKeys.dead(group, logId, offset))
    if (dead !== undefined) yield [offset, fromJson<DeadRecord>(dead)]
  }
}

/** The records that state a consumer's progress. */
export function progressRecords(
  group: string,
  logId: number,
  { floor, settled, retries, inFlight }: CarriedProgress,
): RecordChange[] {
  const done = new OffsetSet(floor)
  for (const [from, to] of settled) for (let offset = from; offset < to; offset++) done.add(offset)
  const changes: RecordChange[] = [[consumerKeys.cursor(group, logId), toFloat(done.floor)]]
  for (const [chunk, bytes] of done.takeChanges())
    if (bytes !== null) changes.push([consumerKeys.chunk(group, logId, chunk), bytes])
  for (const { offset, ...retry } of retries) changes.push([consumerKeys.retry(group, logId, offset), toJson(retry)])
  if (inFlight !== null) changes.push([consumerKeys.inFlight(group, logId), toJson(inFlight)])
  return changes
}

export function letterRecords(group: string, logId: number, letters: readonly CarriedLetter[]): RecordChange[] {
  return letters.flatMap(({ offset, chain, blocks, ...letter }): RecordChange[] => {
    const { id, type, key, text, consumer, state, timeMs, attempts, failure, deadAtMs } = letter
    const dead: DeadRecord = { consumer, state, timeMs, attempts, failure, deadAtMs, id, type, key, text }
    const record: ChainRecord = { consumer, state, key: chain, blocks }
    return [
      [consumerKeys.dead(group, logId, offset), toJson(dead)],
      [consumerKeys.chain(group, logId, offset), toJson(record)],
    ]
  })
}

/** The changes that delete every record of a consumer in a log. */
export function* clearedRecords(records: Records, group: string, logId: number): Generator<RecordChange> {
  for (const table of OFFSET_TABLES)
    for (const [key] of records.range(...under(consumerKeys.table(table, group, logId)))) yield [key, null]
  yield [consumerKeys.cursor(group, logId), null]
  yield [consumerKeys.inFlight(group, logId), null]
  yield [consumerKeys.begin(group, logId), null]
}
