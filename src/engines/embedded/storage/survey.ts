/**
 * What is left of a data directory, found without opening it as one: every entry of the index that can be reached, every extent and every frame that is whole.
 * It changes nothing, and it does not stop at what is damaged: that is listed, with the events that are lost by it.
 */
import { join } from 'node:path'
import type { Frame, StoredBlock } from '../store.ts'
import { readMarker } from './directory-format.ts'
import { decodeExtent, findExtents } from './extent.ts'
import { type FileSystem, nodeFileSystem } from './file-system.ts'
import { decodeFrame, type FramePlace, findFrames } from './frame-codec.ts'
import { type ExtentEntry, indexKeys, toExtent } from './index-db.ts'
import { INDEX_FILE, pagesOf } from './index-file.ts'
import { indexProblem } from './index-pages.ts'
import { type IndexRemains, remainsOf } from './index-remains.ts'
import { FILE_HEAD_BYTES, readHead, rebuildHead } from './journal-head.ts'
import { journalFiles } from './journal-scan.ts'
import { type CommitName, chainOf } from './recovery.ts'
import { Segments } from './segments.ts'

export interface Problem {
  readonly file: string
  readonly problem: string
}

/** Where events of a channel are that can be read. */
export interface SurveyedChannel {
  first: number
  /** After the last offset that is known to have been given out. */
  next: number
  /** Whether the index says where it ends. */
  known: boolean
  /** By first offset; what lies in several places is in one of them. */
  readonly extents: Map<number, ExtentEntry>
}

const SEGMENT_FILE = /^segment-(\d{8})$/
const NOTHING: CommitName = { sequence: 0, check: 0 }
/** Of a journal file whose size is not known. */
const JOURNAL_FILE_BYTES = 8 * 1024 * 1024

type FoundFrame = FramePlace & { readonly bytes: Buffer }

interface FoundFile {
  readonly frames: readonly FoundFrame[]
  readonly fileBytes: number
  /** It should be there, and is not, or not whole. */
  readonly short: boolean
}

/**
 * The commit before the last run of frames without a gap, where the index does not say up to which commit it holds everything. Those that it lacks are among them;
 * frames before a gap may be old ones, whose files were not used again.
 */
function beginningOf(places: readonly FramePlace[]): CommitName {
  const whole = new Map(places.filter(({ state }) => state === 'whole').map((place) => [place.sequence, place]))
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

/** Bytes of a journal file in which frames may have been that cannot be read. Behind the newest frame of all is nothing. */
function unreadableBytes(frames: readonly FramePlace[], fileBytes: number, newest: number): number {
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
  readonly problems: Problem[] = []
  readonly records: Map<string, Buffer> = new Map()
  readonly channels: Map<number, SurveyedChannel> = new Map()
  /** Commits that are not in the index, in order. */
  readonly frames: Frame[] = []
  /** Commits that were acknowledged and cannot be read; null where it is not known how many, or whether any. */
  lostCommits: number | null = 0
  /** Bytes of the journal in which they were, at most. */
  lostCommitBytes = 0
  /** Bytes of segments in which extents may have been of which nothing is known. */
  lostExtentBytes = 0
  /** What is known of entries of the index that cannot be read. */
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

  /** What is found of a channel; made where nothing is. */
  channel(id: number): SurveyedChannel {
    let channel = this.channels.get(id)
    if (channel === undefined) {
      channel = { first: 0, next: 0, known: false, extents: new Map() }
      this.channels.set(id, channel)
    }
    return channel
  }

  /** Extents that the index names are read; where it does not name all, those that segments hold are looked for. */
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
      // Of two the later written is the later compacted.
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
    const places = files.flatMap(({ frames }) => frames)
    // A new index does not say it: nothing is applied yet.
    const applied = this.#applied ?? (this.#indexWhole ? NOTHING : beginningOf(places))
    const chain = chainOf(applied, places)
    if (chain.ended === 'damaged')
      this.#problem(
        'journal',
        `commit ${chain.next} is missing or damaged, and it was acknowledged: commit ${chain.proven} is known`,
      )
    else if (chain.ended === 'other-history')
      this.#problem('journal', `commit ${chain.next} does not follow the previous one`)
    // Where there is nothing of the index, old frames say nothing that is not so any more.
    const from = this.indexRemains.entries.size === 0 ? 0 : applied.sequence
    const seen = new Set<number>()
    for (const place of places.sort((a, b) => a.sequence - b.sequence)) {
      if (place.state !== 'whole' || place.sequence <= from || seen.has(place.sequence)) continue
      seen.add(place.sequence)
      const frame = decodeFrame(place.bytes, place)
      this.frames.push(frame)
      for (const block of frame.blocks) {
        const channel = this.channel(block.channelId)
        channel.next = Math.max(channel.next, block.firstOffset + block.count)
      }
    }
    if (chain.ended === 'end' && !files.some(({ short }) => short)) return
    const found = [...seen].filter((sequence) => sequence > applied.sequence && sequence <= chain.proven)
    this.lostCommits = chain.ended === 'end' ? null : Math.max(1, chain.proven - applied.sequence - found.length)
    const newest = Math.max(0, ...places.map(({ sequence }) => sequence))
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
    const frames = findFrames(bytes, FILE_HEAD_BYTES, head.salt).map((place) => ({ ...place, bytes }))
    return { frames, fileBytes: Math.max(bytes.length, head.fileBytes), short: listed && bytes.length < head.fileBytes }
  }

  /** Blocks of a channel that can be read, in order, each of whose events come after those before. */
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
