/**
 * `millrace check`: what is damaged in a data directory and what is lost by it; and the repair.
 *
 * A repair never writes to an existing file. It makes new files from everything that can be read. When they are
 * complete and synced, they replace the old ones. The damaged files are kept beside the directory, unchanged. Offsets
 * stay: lost events become holes, which readers and consumers skip.
 */
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { fromJson, toFloat, toJson, under } from '../../delivery/consumer-records.ts'
import { decodeBlock, voidBlock } from '../../event/block.ts'
import { type ChannelRecord, keys, type TimerRecord } from './records.ts'
import { forget, type Loss, mendRecords, raiseEnds } from './repair-records.ts'
import { damaged } from './storage/damage.ts'
import { FORMAT_FILE } from './storage/directory-format.ts'
import { claimDirectory } from './storage/directory-owner.ts'
import { DiskStore } from './storage/disk-store.ts'
import { makePrivateDirectory } from './storage/file-modes.ts'
import { nodeFileSystem } from './storage/file-system.ts'
import { type Damage, Survey, type SurveyedChannel } from './storage/survey.ts'
import type { Frame, StoredBlock } from './store.ts'

export interface CheckedChannel {
  readonly name: string
  readonly first: number
  readonly next: number
  /** Ranges of offsets whose events cannot be read: from (inclusive), to (exclusive). */
  readonly lost: readonly (readonly [from: number, to: number])[]
  /** How many offsets before `next` lost commits may have given to events. A repair does not give them out again. */
  readonly skipped: number
}

export interface CheckReport {
  readonly directory: string
  readonly problems: readonly Damage[]
  readonly channels: readonly CheckedChannel[]
  /** What a repair cannot restore, or perhaps cannot, except events in channels. */
  readonly losses: readonly Loss[]
  /** Where the damaged files are kept after a repair. */
  readonly keptAs?: string
}

/**
 * Check a directory that no process has open. With `repair`, a directory with problems is replaced by everything that
 * can be read of it.
 * @throws DATA_MISSING · DATA_FOREIGN · DIRECTORY_IN_USE
 */
export async function checkDirectory(path: string, repair: boolean): Promise<CheckReport> {
  const directory = resolve(path)
  refuseStrange(directory)
  refuseUnfinished(directory)
  const claim = await claimDirectory(directory)
  try {
    const survey = new Survey(directory)
    const names = namesOf(survey)
    raiseEnds(survey)
    const { records, losses } = mendRecords(survey, names)
    const channels: CheckedChannel[] = []
    for (const [id, channel] of survey.channels) {
      const lost = lostOf(survey, id)
      const skipped = skippedOf(survey, channel)
      if (channel.next === 0 && !names.has(id)) continue
      forget(records, id, lost)
      channel.next += skipped
      channels.push({ name: names.get(id) ?? unnamed(id), first: channel.first, next: channel.next, lost, skipped })
    }
    const report = { directory, problems: survey.problems, channels: channels.filter((each) => each.next > 0), losses }
    return repair && survey.problems.length > 0
      ? { ...report, keptAs: await rebuild(directory, survey, names, records) }
      : report
  } finally {
    await claim.release()
  }
}

function refuseStrange(directory: string): void {
  const names = existsSync(directory) && statSync(directory).isDirectory() ? readdirSync(directory) : []
  if (names.some((name) => name === FORMAT_FILE || DATA_FILE.test(name))) return
  throw new MillraceError('DATA_MISSING', `${directory} holds no Millrace data: name another directory`, { directory })
}

/** The files that a repair moves out of a directory and into it. */
const DATA_FILE = /^(?:index\.mdb(?:-lock)?|journal-\d+|segment-\d{8})$/

const unnamed = (id: number): string => `recovered-${id}`

/** The names of channels by number, from their records in the index and in the journal. */
function namesOf(survey: Survey): Map<number, string> {
  const names = new Map<number, string>()
  const records = [...survey.records, ...survey.frames.flatMap((frame) => frame.records)]
  for (const [key, value] of records) {
    if (!key.startsWith('c/') || value === null) continue
    const { id, spec, first } = fromJson<ChannelRecord>(value)
    names.set(id, spec.name)
    const channel = survey.channel(id)
    channel.first = Math.max(channel.first, first)
  }
  return names
}

/** The smallest number of bytes that an event takes. */
const EVENT_BYTES_MIN = 32

/**
 * How many offsets to skip after the known end of a channel: as many as the unreadable bytes may have held, so that
 * none of them is given out again.
 */
function skippedOf({ lostCommits, lostCommitBytes, lostExtentBytes }: Survey, { known }: SurveyedChannel): number {
  return Math.ceil((lostCommitBytes + (known && lostCommits === 0 ? 0 : lostExtentBytes)) / EVENT_BYTES_MIN)
}

function lostOf(survey: Survey, id: number): [from: number, to: number][] {
  const channel = survey.channels.get(id)
  if (channel === undefined) return []
  const lost: [number, number][] = []
  let offset = channel.first
  for (const block of survey.blocks(id)) {
    if (block.firstOffset > offset) lost.push([offset, block.firstOffset])
    offset = Math.max(offset, block.firstOffset + block.count)
  }
  if (offset < channel.next) lost.push([offset, channel.next])
  return lost
}

async function rebuild(
  directory: string,
  survey: Survey,
  names: ReadonlyMap<number, string>,
  records: Map<string, Uint8Array>,
): Promise<string> {
  const made = `${directory}.repairing`
  rmSync(made, { recursive: true, force: true })
  const store = await DiskStore.open(made, (block) => block)
  try {
    for (const frame of framesOf(survey, names, records)) await committed(store, frame)
  } finally {
    await store.close()
  }
  const keptAs = `${directory}.damaged-${new Date().toISOString().replaceAll(/[:.]/g, '-')}`
  exchange(directory, made, keptAs)
  return keptAs
}

/**
 * Move the old files out of the directory and the new ones into it. Meanwhile the marker says so, and the directory is
 * refused. So a half-moved directory never looks like an empty one.
 */
function exchange(directory: string, made: string, keptAs: string): void {
  const ours = (name: string): boolean => DATA_FILE.test(name)
  const marker = join(directory, FORMAT_FILE)
  makePrivateDirectory(keptAs)
  for (const name of readdirSync(directory))
    if (!ours(name) && name.startsWith('.')) cpSync(join(directory, name), join(keptAs, name), { recursive: true })
  if (existsSync(marker)) cpSync(marker, join(keptAs, FORMAT_FILE))
  nodeFileSystem.syncDirectory(keptAs)
  nodeFileSystem.replace(marker, Buffer.from(`${JSON.stringify({ repairing: true, keptAs, made })}\n`))
  for (const name of readdirSync(directory)) if (ours(name)) renameSync(join(directory, name), join(keptAs, name))
  for (const name of readdirSync(made)) if (ours(name)) renameSync(join(made, name), join(directory, name))
  for (const each of [keptAs, made, directory]) nodeFileSystem.syncDirectory(each)
  renameSync(join(made, FORMAT_FILE), marker)
  nodeFileSystem.syncDirectory(directory)
  rmSync(made, { recursive: true, force: true })
  nodeFileSystem.syncDirectory(dirname(directory))
}

function saidBy(marker: string): { readonly keptAs?: unknown; readonly made?: unknown } | null {
  try {
    return JSON.parse(readFileSync(marker, 'utf8')) as { readonly keptAs?: unknown }
  } catch {
    return null
  }
}

/** @throws DATA_DAMAGED when an earlier repair of this directory was interrupted */
function refuseUnfinished(directory: string): void {
  const said = saidBy(join(directory, FORMAT_FILE))
  if (typeof said?.keptAs !== 'string') return
  const what = `a repair was interrupted while it moved files: the old files are in ${said.keptAs} and here, the new ones in ${String(said.made)} and here`
  throw damaged(
    FORMAT_FILE,
    `${what}. Move the files in ${said.keptAs} back into this directory, and repair it again`,
    { directory, keptAs: said.keptAs },
  )
}

function committed(store: DiskStore, frame: Frame): Promise<void> {
  return new Promise((done, fail) => store.commit(frame, (error) => (error === null ? done() : fail(error))))
}

const RECORDS_A_FRAME = 10_000

function* framesOf(
  survey: Survey,
  names: ReadonlyMap<number, string>,
  records: Map<string, Uint8Array>,
): Generator<Frame> {
  nameRest(survey, names, records)
  findLatest(survey, records)
  const all = [...records]
  for (let at = 0; at < all.length; at += RECORDS_A_FRAME)
    yield { blocks: [], records: all.slice(at, at + RECORDS_A_FRAME), trims: [] }
  for (const [id, { first, next }] of survey.channels) {
    if (next === 0) continue
    let blocks: StoredBlock[] = []
    let bytes = 0
    for (const block of covering(survey, id, next)) {
      blocks.push(block)
      bytes += block.bytes.length
      if (bytes < LIMITS.commitBytesMax) continue
      yield { blocks, records: [], trims: [] }
      blocks = []
      bytes = 0
    }
    yield { blocks, records: [], trims: first > 0 ? [{ channelId: id, beforeOffset: first }] : [] }
  }
}

/** The blocks of a channel from its beginning to its end, with void blocks where blocks are missing. */
function* covering(survey: Survey, id: number, next: number): Generator<StoredBlock> {
  let [offset, timeMs] = [0, 0]
  for (const block of survey.blocks(id)) {
    if (block.firstOffset > offset) yield voidBlock(id, offset, block.firstOffset - offset, block.timeMs)
    yield block
    offset = block.firstOffset + block.count
    timeMs = block.timeMs
  }
  if (offset < next) yield voidBlock(id, offset, next - offset, timeMs)
}

/**
 * Give channels whose records are lost a new record, with a name that says so. Channel numbers that were given out are
 * not given out again.
 */
function nameRest(survey: Survey, names: ReadonlyMap<number, string>, records: Map<string, Uint8Array>): void {
  // A channel without stored events may have delayed ones.
  const delayed = [...records].flatMap(([key, value]) =>
    key.startsWith('t/') ? [fromJson<TimerRecord>(value).channelId] : [],
  )
  const ids = [...new Set([...[...survey.channels].filter(([, { next }]) => next > 0).map(([id]) => id), ...delayed])]
  const known = new Set(
    [...records]
      .filter(([key]) => key >= under('c/')[0] && key < under('c/')[1])
      .map(([, value]) => fromJson<ChannelRecord>(Buffer.from(value)).id),
  )
  for (const id of ids) {
    if (known.has(id) || names.has(id)) continue
    const retain = { ageMs: null, bytes: null, count: null, latestByKey: false }
    const spec = {
      name: unnamed(id),
      kind: 'stream' as const,
      types: null,
      retain,
      dedupe: null,
      eventBytesMax: LIMITS.eventBytesMax,
    }
    records.set(keys.channel(spec.name), toJson({ id, spec, first: 0 } satisfies ChannelRecord))
    known.add(id)
  }
  const nextChannelId = 1 + Math.max(0, ...known, ...ids)
  const engine = records.get(keys.engine)
  const given =
    engine === undefined ? 1 : fromJson<{ readonly nextChannelId: number }>(Buffer.from(engine)).nextChannelId
  records.set(keys.engine, toJson({ nextChannelId: Math.max(given, nextChannelId) }))
}

/**
 * Find the latest event of each key among the events that are left. Its record may be lost, or may point to a lost
 * event.
 */
function findLatest(survey: Survey, records: Map<string, Uint8Array>): void {
  for (const [key, value] of [...records]) {
    if (!key.startsWith('c/')) continue
    const { id, spec } = fromJson<ChannelRecord>(value)
    if (!spec.retain.latestByKey) continue
    const [from, to] = under(keys.latest(id, ''))
    for (const latest of [...records.keys()]) if (latest >= from && latest < to) records.delete(latest)
    for (const stored of survey.blocks(id)) {
      const block = decodeBlock(id, stored.bytes)
      for (let index = block.holes(0); index < block.count; index += 1 + block.holes(index + 1)) {
        const lane = block.keyAt(index)
        if (lane !== null) records.set(keys.latest(id, lane), toFloat(block.firstOffset + index))
      }
    }
  }
}
