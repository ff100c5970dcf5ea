/**
 * The content of a consumer log: the owner of the partition, changes of records, emissions on their way, and snapshots.
 * Each entry is a JSON object.
 *
 * The state of a partition is the fold of its entries. A snapshot begins with `reset` and takes as many entries as it
 * needs. It is complete with the entry that says `snapshot: 'whole'`. The entries before its first one may then be
 * trimmed.
 */
import { isJsonObject, isNumberFrom, jsonObject } from '../../base/json-object.ts'
import type { Emission } from '../../broker/engine.ts'
import type { RecordChange } from '../../delivery/cursor-host.ts'
import { ConsumerLogRecords } from './consumer-log-records.ts'

export interface ConsumerLogEntry {
  /**
   * The number of the entry among the entries of its owner. It tells the owner whether a write without an answer was
   * stored.
   */
  readonly number: number
  readonly owner: string
  /** `claim`: the owner begins. `release`: the owner gives the partition back. */
  readonly kind: 'claim' | 'commit' | 'release'
  /** Records by key: a text, `{ bytes: base64 }`, or null for a record that is deleted. */
  readonly records?: Readonly<Record<string, string | { readonly bytes: string } | null>>
  /** Emissions that take effect with this entry. The owner sends them on. */
  readonly emissions?: readonly Emission[]
  /** The number of emissions that are sent on, of all that the consumer log has ever held. */
  readonly sent?: number
  /**
   * This entry begins, continues or completes a snapshot. `emitted` is the number of emissions before those in the
   * snapshot.
   */
  readonly snapshot?: 'part' | 'whole'
  readonly reset?: boolean
  readonly emitted?: number
}

/** The state of a partition: the fold of its consumer log. */
export interface ConsumerLogState {
  owner: string | null
  released: boolean
  number: number
  readonly records: ConsumerLogRecords
  /** Emissions of which it is not known that they are sent on, the oldest first. */
  outbox: Emission[]
  /** The number of all emissions ever, including those in the outbox. */
  emitted: number
  /** The number of entries that another client wrote. They are ignored. */
  foreign: number
}

export function encodeEntry(entry: ConsumerLogEntry): Uint8Array {
  return Buffer.from(JSON.stringify(entry))
}

/** A record's value as an entry holds it: text if the bytes are JSON, otherwise base64. */
export function recordText(value: Uint8Array | null): string | { readonly bytes: string } | null {
  if (value === null) return null
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
  return bytes[0] === 0x7b ? bytes.toString() : { bytes: bytes.toString('base64') }
}

export function recordTexts(changes: readonly RecordChange[]): NonNullable<ConsumerLogEntry['records']> {
  return Object.fromEntries(changes.map(([key, value]) => [key, recordText(value)]))
}

export function emptyState(): ConsumerLogState {
  return {
    owner: null,
    released: false,
    number: 0,
    records: new ConsumerLogRecords(),
    outbox: [],
    emitted: 0,
    foreign: 0,
  }
}

/** The entry in these bytes, or null if they are not an entry. */
export function entryIn(bytes: Uint8Array): ConsumerLogEntry | null {
  const entry = jsonObject(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
  if (entry === null || typeof entry['owner'] !== 'string' || !isNumberFrom(entry['number'], 0)) return null
  const { kind, records = {}, emissions = [], sent = 0, emitted = 0 } = entry
  if (kind !== 'claim' && kind !== 'commit' && kind !== 'release') return null
  if (
    !isJsonObject(records) ||
    !Object.values(records).every(isRecord) ||
    !isNumberFrom(sent, 0) ||
    !isNumberFrom(emitted, 0)
  )
    return null
  return Array.isArray(emissions) && emissions.every(isEmission) ? (entry as unknown as ConsumerLogEntry) : null
}

function isRecord(value: unknown): boolean {
  return value === null || typeof value === 'string' || (isJsonObject(value) && typeof value['bytes'] === 'string')
}

function isEmission(value: unknown): boolean {
  if (!isJsonObject(value) || typeof value['channel'] !== 'string' || !isJsonObject(value['event'])) return false
  const { id, type, key, text } = value['event']
  return (
    typeof id === 'string' &&
    typeof type === 'string' &&
    typeof text === 'string' &&
    (key === null || typeof key === 'string')
  )
}

export function fold(entries: readonly Uint8Array[]): ConsumerLogState {
  let state = emptyState()
  let foreign = 0
  let snapshot: ConsumerLogState | null = null
  for (const bytes of entries) {
    const entry = entryIn(bytes)
    if (entry === null) {
      foreign++
      continue
    }
    if (entry.reset === true) snapshot = { ...emptyState(), emitted: entry.emitted ?? 0 }
    // An entry of another owner amid a snapshot: the snapshot was never completed.
    if (entry.snapshot === undefined) snapshot = null
    const into: ConsumerLogState = snapshot ?? state
    apply(into, entry)
    Object.assign(state, { owner: entry.owner, released: entry.kind === 'release', number: entry.number })
    if (entry.snapshot === 'whole' && snapshot !== null) {
      state = Object.assign(snapshot, { owner: state.owner, released: state.released, number: state.number })
      snapshot = null
    }
  }
  state.foreign = foreign
  return state
}

function apply(state: ConsumerLogState, entry: ConsumerLogEntry): void {
  for (const [key, value] of Object.entries(entry.records ?? {})) {
    if (value === null) state.records.delete(key)
    else state.records.set(key, typeof value === 'string' ? Buffer.from(value) : Buffer.from(value.bytes, 'base64'))
  }
  if (entry.emissions !== undefined) {
    state.outbox.push(...entry.emissions)
    state.emitted += entry.emissions.length
  }
  if (entry.sent !== undefined) {
    const left = state.emitted - entry.sent
    state.outbox = left <= 0 ? [] : state.outbox.slice(-left)
  }
}
