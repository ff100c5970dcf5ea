/**
 * Finds what is left of a damaged data directory, without opening it normally: every reachable index entry, and every
 * intact extent and frame.
 *
 * It changes nothing. It does not stop at damage, but lists it with the events that are lost.
 */
import { join } from 'node:path'
import type { Frame, StoredBlock } from '../store.ts'
import { readMarker } from './directory-format.ts'
import { decodeExtent, findExtents } from './extent.ts'
import { type FileSystem, nodeFileSystem } from './file-system.ts'
import { decodeFrame, type FrameLocation, findFrames } from './frame-codec.ts'
import { type ExtentEntry, indexKeys, toExtent } from './index-db.ts'
import { INDEX_FILE, pagesOf } from './index-file.ts'
import { indexProblem } from './index-pages.ts'
import { type IndexRemains, remainsOf } from './index-remains.ts'
import { FILE_HEAD_BYTES, readHead, rebuildHead } from './journal-head.ts'
import { journalFiles } from './journal-scan.ts'
import { type CommitName, chainOf } from './recovery.ts'
import { Segments } from './segments.ts'

export interface Damage {
  readonly file: string
  readonly problem: string
}

/** The readable events of a channel. */
export interface SurveyedChannel {
  first: number
  /** The offset after the last one that is known to have been assigned. */
  next: number
  /** Whether the index says where the channel ends. */
  known: boolean
  /** By first offset. If an extent is stored more than once, one of the copies. */
  readonly extents: Map<number, ExtentEntry>
}

const SEGMENT_FILE = /^segment-(\d{8})$/
const NOTHING: CommitName = { sequence: 0, check: 0 }
/** The assumed size of a journal file whose size is not known. */
const JOURNAL_FILE_BYTES = 8 * 1024 * 1024

type FoundFrame = FrameLocation & { readonly bytes: Buffer }

interface FoundFile {
  readonly frames: readonly FoundFrame[]
  readonly fileBytes: number
  /** The file is missing or too short. */
  readonly short: boolean
}

/**
 * The commit before the last run of frames without a gap, for an index that does not say up to which commit it is
 * complete. The missing commits are in that run. Frames before a gap may be old ones, in files that were not reused.
 */
function beginningOf(locations: readonly FrameLocation[]): CommitName {
  const whole = new Map(
    locations.filter(({ state }) => state === 'whole').map((location) => [location.sequence, location]),
  )
  let sequence = Math.max(0, ...whole.keys())
  let first = whole.get(sequence)
  if (first === undefined) return NOTHING
  for (
    let before = whole.get(--sequence);
    before !== undefined && before.check === first.link;
    before = whole.get(--sequence)
  )
    first = before
  return { sequence: first.sequence - 1, check: first.link }
}

/**
 * Bytes of a journal file that may contain unreadable frames. Bytes after the newest frame of all files contain none.
 */
function unreadableBytes(frames: readonly FrameLocation[], fileBytes: number, newest: number): number {
  let bytes = 0
  let end = FILE_HEAD_BYTES
  for (const { at, end: to, state } of frames) {
    bytes += Math.max(0, at - end) + (state === 'head' ? to - at : 0)
    end = Math.max(end, to)
  }
  const last = frames.at(-1)
  return last?.state === 'end' || last?.sequence === newest ? bytes : bytes + Math.max(0, fileBytes - end)
}

export class Survey {
  readonly problems: Damage[] = []
  readonly records: Map<string, Buffer> = new Map()
  readonly channels: Map<number, SurveyedChannel> = new Map()
  /** Commits that are not in the index, in order. */
  readonly frames: Frame[] = []
  /** How many acknowledged commits cannot be read; null if the number, or whether there are any, is not known. */
  lostCommits: number | null = 0
  /** The largest number of bytes that these commits can have in the journal. */
  lostCommitBytes = 0
  /** Bytes of segments that may have contained unknown extents. */
  lostExtentBytes = 0
  /** What is known about unreadable entries of the index. */
  indexRemains: IndexRemains = { entries: new Map(), damaged: [], gaps: [{ after: null, before: null }], missing: null }
  readonly #fs: FileSystem = nodeFileSystem
  readonly #directory: string
  #directoryId: string | null = null
  #listed: readonly string[] = []
  #applied: CommitName | null = null
  #indexWhole = false

  constructor(directory: string) {
    this.#directory = directory
    this.#marker()
    this.#index()
    this.#journal()
    this.#segments()
  }

  #problem(file: string, problem: string): void {
    this.problems.push({ file, problem })
  }

  #marker(): void {
    const marker = readMarker(this.#fs, this.#directory)
    if (typeof marker === 'string')
      this.#problem(
        'millrace.json',
        marker === 'none' ? 'the file is missing' : 'the file is damaged, or of another format',
      )
    else {
      this.#directoryId = marker.id
      this.#listed = marker.journal
    }
  }

  #index(): void {
    const path = join(this.#directory, INDEX_FILE)
    if (!this.#fs.exists(path)) {
      this.#problem(INDEX_FILE, 'the file is missing')
      return
    }
    const fd = this.#fs.open(path, 'r')
    try {
      const pages = pagesOf(fd, this.#fs.size(fd))
      const problem = indexProblem(pages, { leaves: true })
      if (problem !== null) this.#problem(INDEX_FILE, problem)
      this.#indexWhole = problem === null
      this.indexRemains = remainsOf(pages)
      for (const [key, value] of this.indexRemains.entries) this.#entry(key, value)
    } finally {
      this.#fs.close(fd)
    }
  }

  #entry(key: string, value: Buffer): void {
    if (key === indexKeys.applied) this.#applied = { sequence: value.readDoubleLE(0), check: value.readDoubleLE(8) }
    else if (key === indexKeys.directory) this.#directoryId ??= value.toString()
    else if (key.startsWith('r')) this.records.set(key.slice(1), value)
    else if (key.startsWith('x'))
      this.channel(Number(key.slice(1, 9))).extents.set(toExtent(key, value).firstOffset, toExtent(key, value))
    else if (key.startsWith('c')) {
      const channel = this.channel(Number(key.slice(1)))
      channel.first = value.readDoubleLE(0)
      channel.next = Math.max(channel.next, value.readDoubleLE(8))
      channel.known = true
    }
  }

  /** What was found of a channel; a new entry if nothing was. */
  channel(id: number): SurveyedChannel {
    let channel = this.channels.get(id)
    if (channel === undefined) {
      channel = { first: 0, next: 0, known: false, extents: new Map() }
      this.channels.set(id, channel)
    }
    return channel
  }

  /** Check the extents that the index lists. If the index is incomplete, search the segments for others. */
  #segments(): void {
    for (const [id, channel] of this.channels) {
      for (const [offset, entry] of channel.extents) {
        try {
          this.blocksOf(id, entry)
        } catch (error) {
          channel.extents.delete(offset)
          this.#problem(
            Segments.fileName(entry.segment),
            `the events at byte ${entry.position} cannot be read (${wordOf(error)})`,
          )
        }
      }
    }
    if (this.#indexWhole && this.lostCommits === 0) return
    for (const name of this.#fs.list(this.#directory)) {
      const segment = SEGMENT_FILE.exec(name)?.[1]
      if (segment !== undefined) this.#scanSegment(name, Number(segment))
    }
  }

  #scanSegment(name: string, segment: number): void {
    const bytes = Buffer.from(this.#fs.readFile(join(this.#directory, name)) ?? [])
    this.lostExtentBytes += bytes.length
    for (const found of findExtents(bytes)) {
      this.lostExtentBytes -= found.bytes
      const channel = this.channel(found.channelId)
      const known = channel.extents.get(found.firstOffset)
      // Of two copies, the one in the later segment is the newer, from a compaction.
      if (known === undefined || known.segment < segment) channel.extents.set(found.firstOffset, { ...found, segment })
      channel.next = Math.max(channel.next, found.firstOffset + found.count)
    }
  }

  /** @throws DATA_DAMAGED */
  blocksOf(channelId: number, entry: ExtentEntry): StoredBlock[] {
    const segments = new Segments(this.#fs, this.#directory, true)
    try {
      return decodeExtent(
        segments.readSync(entry.segment, entry.position, entry.bytes),
        channelId,
        Segments.fileName(entry.segment),
        entry.position,
      )
    } finally {
      segments.close()
    }
  }

  #journal(): void {
    const files = journalFiles(this.#fs, this.#directory, this.#listed).map((name) => this.#framesOf(name))
    const locations = files.flatMap(({ frames }) => frames)
    // A new index has no such entry, and nothing is applied yet.
    const applied = this.#applied ?? (this.#indexWhole ? NOTHING : beginningOf(locations))
    const chain = chainOf(applied, locations)
    if (chain.ended === 'damaged')
      this.#problem(
        'journal',
        `commit ${chain.next} is missing or damaged, and it was acknowledged: commit ${chain.proven} is known`,
      )
    else if (chain.ended === 'other-history')
      this.#problem('journal', `commit ${chain.next} does not follow the previous one`)
    // Without any index entry, old frames cannot contradict newer data, so all are used.
    const from = this.indexRemains.entries.size === 0 ? 0 : applied.sequence
    const seen = new Set<number>()
    for (const location of locations.sort((a, b) => a.sequence - b.sequence)) {
      if (location.state !== 'whole' || location.sequence <= from || seen.has(location.sequence)) continue
      seen.add(location.sequence)
      const frame = decodeFrame(location.bytes, location)
      this.frames.push(frame)
      for (const block of frame.blocks) {
        const channel = this.channel(block.channelId)
        channel.next = Math.max(channel.next, block.firstOffset + block.count)
      }
    }
    if (chain.ended === 'end' && !files.some(({ short }) => short)) return
    const found = [...seen].filter((sequence) => sequence > applied.sequence && sequence <= chain.proven)
    this.lostCommits = chain.ended === 'end' ? null : Math.max(1, chain.proven - applied.sequence - found.length)
    const newest = Math.max(0, ...locations.map(({ sequence }) => sequence))
    for (const { frames, fileBytes } of files) this.lostCommitBytes += unreadableBytes(frames, fileBytes, newest)
  }

  #framesOf(name: string): FoundFile {
    const listed = this.#listed.includes(name)
    const nothing = { frames: [], fileBytes: listed ? JOURNAL_FILE_BYTES : 0, short: listed }
    const content = this.#fs.readFile(join(this.#directory, name))
    if (content === undefined) {
      this.#problem(name, 'the journal file is missing')
      return nothing
    }
    const bytes = Buffer.from(content)
    const whole = readHead(bytes)
    const head = whole ?? rebuildHead(bytes, this.#directoryId ?? '')
    if (head === null) {
      if (listed) this.#problem(name, 'the header of the journal file is damaged, or it is not a journal file')
      return { ...nothing, fileBytes: listed ? Math.max(JOURNAL_FILE_BYTES, bytes.length) : 0 }
    }
    if (whole !== null && this.#directoryId !== null && whole.directoryId !== this.#directoryId) {
      this.#problem(name, `the journal file is of another data directory (${whole.directoryId}): it is left out`)
      return nothing
    }
    if (bytes.length < head.fileBytes && listed)
      this.#problem(name, `the journal file has ${bytes.length} bytes and should have ${head.fileBytes}`)
    const frames = findFrames(bytes, FILE_HEAD_BYTES, head.salt).map((location) => ({ ...location, bytes }))
    return { frames, fileBytes: Math.max(bytes.length, head.fileBytes), short: listed && bytes.length < head.fileBytes }
  }

  /** The readable blocks of a channel in order, without overlaps. */
  *blocks(channelId: number): Generator<StoredBlock> {
    const { extents } = this.channel(channelId)
    const inFrames = this.frames.flatMap((frame) => frame.blocks.filter((block) => block.channelId === channelId))
    const sources: { readonly firstOffset: number; blocks(): readonly StoredBlock[] }[] = [
      ...[...extents.values()].map((entry) => ({
        firstOffset: entry.firstOffset,
        blocks: () => this.blocksOf(channelId, entry),
      })),
      ...inFrames.map((block) => ({ firstOffset: block.firstOffset, blocks: () => [block] })),
    ]
    let end = 0
    for (const source of sources.sort((a, b) => a.firstOffset - b.firstOffset)) {
      for (const block of source.blocks()) {
        if (block.firstOffset < end) continue
        yield block
        end = block.firstOffset + block.count
      }
    }
  }
}

function wordOf(error: unknown): string {
  return error instanceof Error ? (error.message.split('. ')[0] as string) : String(error)
}
