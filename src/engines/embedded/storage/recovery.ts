/**
 * Recovery as tables: what can be found in a data directory, and what is done then.
 *
 * A state that a crash, a power cut or a full disk can leave is opened with everything that was acknowledged. Every
 * other state is refused, or opened if the rest proves what was there.
 *
 * The tables cover all combinations of their columns, and tests try every one. The first matching row decides; `any`
 * matches everything. docs/format.md says how each state comes about.
 */
import type { FrameLocation } from './frame-codec.ts'

/** The marker `millrace.json`, the index, and the data files. */
export interface DirectoryFacts {
  readonly marker: 'none' | 'broken' | 'other-format' | 'whole'
  /** Journal files that are listed or were used, or segments. */
  readonly data: 'none' | 'some'
  /** Files that are not Millrace's. */
  readonly strange: 'none' | 'some'
  readonly index: 'none' | 'broken' | 'whole'
}
export type DirectoryDecision =
  | 'create'
  | 'open'
  | 'new-index'
  | 'marker-missing'
  | 'marker-damaged'
  | 'strange'
  | 'other-format'
  | 'index-missing'
  | 'index-damaged'

const any = 'any'
type Row<Facts, Decision> = { readonly [Fact in keyof Facts]: Facts[Fact] | typeof any } & {
  readonly decision: Decision
}

export const DIRECTORY_TABLE: readonly Row<DirectoryFacts, DirectoryDecision>[] = [
  { marker: 'broken', data: any, strange: any, index: any, decision: 'marker-damaged' },
  { marker: 'other-format', data: any, strange: any, index: any, decision: 'other-format' },
  // The marker is the first file to be created, so other files of ours without it mean that it was lost.
  { marker: 'none', data: 'some', strange: any, index: any, decision: 'marker-missing' },
  { marker: 'none', data: 'none', strange: any, index: 'whole', decision: 'marker-missing' },
  { marker: 'none', data: 'none', strange: any, index: 'broken', decision: 'marker-missing' },
  { marker: 'none', data: 'none', strange: 'some', index: 'none', decision: 'strange' },
  { marker: 'none', data: 'none', strange: 'none', index: 'none', decision: 'create' },
  { marker: 'whole', data: 'some', strange: any, index: 'whole', decision: 'open' },
  // The index is created and synced before the first journal file: the directory was being created, and nothing was
  // stored yet.
  { marker: 'whole', data: 'none', strange: any, index: any, decision: 'new-index' },
  { marker: 'whole', data: 'some', strange: any, index: 'none', decision: 'index-missing' },
  { marker: 'whole', data: 'some', strange: any, index: 'broken', decision: 'index-damaged' },
]

/** A journal file, before its frames are read. */
export interface FileFacts {
  /** Whether the marker lists it. A file is synced before it is listed, and listed before it is used. */
  readonly listed: 'yes' | 'no'
  readonly head: 'missing' | 'whole' | 'other-directory' | 'damaged'
  /** Shorter than its head says, or at least as long. */
  readonly size: 'short' | 'enough'
  /** Whether the first frame is intact. It repeats the content of the head. */
  readonly firstFrame: 'whole' | 'not'
}
export type FileDecision = 'use' | 'use-rebuilt' | 'ignore' | 'missing' | 'foreign' | 'short' | 'head-damaged'

export const FILE_TABLE: readonly Row<FileFacts, FileDecision>[] = [
  { listed: 'yes', head: 'missing', size: any, firstFrame: any, decision: 'missing' },
  { listed: 'no', head: 'missing', size: any, firstFrame: any, decision: 'ignore' },
  { listed: any, head: 'other-directory', size: any, firstFrame: any, decision: 'foreign' },
  { listed: 'yes', head: 'whole', size: 'enough', firstFrame: any, decision: 'use' },
  { listed: 'yes', head: 'whole', size: 'short', firstFrame: any, decision: 'short' },
  // The file was being created, and its bytes on disk may be incomplete. A file with a frame was used, and so was
  // listed; the marker is then older than the file.
  { listed: 'no', head: 'whole', size: any, firstFrame: 'not', decision: 'ignore' },
  { listed: 'no', head: 'whole', size: 'enough', firstFrame: 'whole', decision: 'use' },
  { listed: 'no', head: 'whole', size: 'short', firstFrame: 'whole', decision: 'short' },
  { listed: 'no', head: 'damaged', size: any, firstFrame: 'not', decision: 'ignore' },
  { listed: any, head: 'damaged', size: any, firstFrame: 'whole', decision: 'use-rebuilt' },
  { listed: 'yes', head: 'damaged', size: any, firstFrame: 'not', decision: 'head-damaged' },
]

/** The commit after the last one that was taken. */
export interface CommitFacts {
  /**
   * Its frame: nothing; only its head; the whole frame; the whole frame of another history; or two frames that differ.
   */
  readonly found: 'nothing' | 'head' | 'whole' | 'unlinked' | 'two'
  /** Whether it was certainly synced: a later frame was begun, or an end mark or the index names it. */
  readonly proven: 'yes' | 'no'
}
export type CommitDecision = 'take' | 'end' | 'damaged' | 'other-history'

export const COMMIT_TABLE: readonly Row<CommitFacts, CommitDecision>[] = [
  { found: 'whole', proven: any, decision: 'take' },
  // The commit was cut off and was never acknowledged.
  { found: 'nothing', proven: 'no', decision: 'end' },
  { found: 'head', proven: 'no', decision: 'end' },
  { found: 'nothing', proven: 'yes', decision: 'damaged' },
  { found: 'head', proven: 'yes', decision: 'damaged' },
  { found: 'unlinked', proven: any, decision: 'other-history' },
  { found: 'two', proven: any, decision: 'other-history' },
]

export function decide<Facts extends object, Decision>(table: readonly Row<Facts, Decision>[], facts: Facts): Decision {
  const names = Object.keys(facts) as (keyof Facts)[]
  const row = table.find((candidate) =>
    names.every((name) => candidate[name] === any || candidate[name] === facts[name]),
  )
  if (row === undefined) throw new TypeError(`no row for ${JSON.stringify(facts)}`)
  return row.decision
}

/** Names a commit by its number and its checksum. The next frame of the journal repeats the checksum (`link`). */
export interface CommitName {
  readonly sequence: number
  readonly check: number
}

/** The frames after the last applied one, from all files: those that are taken, and why the chain ends. */
export interface CommitChain<Location extends FrameLocation> {
  readonly taken: readonly Location[]
  readonly ended: Exclude<CommitDecision, 'take'>
  /** The commit that was not taken. */
  readonly next: number
  /** The last commit that was certainly synced. */
  readonly proven: number
}

export function chainOf<Location extends FrameLocation>(
  applied: CommitName,
  locations: readonly Location[],
): CommitChain<Location> {
  let proven = applied.sequence
  const bySequence = new Map<number, Location[]>()
  for (const location of locations) {
    if (location.sequence <= applied.sequence) continue
    proven = Math.max(proven, location.state === 'end' ? location.sequence : location.sequence - 1)
    bySequence.set(location.sequence, [...(bySequence.get(location.sequence) ?? []), location])
  }
  const taken: Location[] = []
  let last: CommitName = applied
  for (;;) {
    const next = last.sequence + 1
    const here = bySequence.get(next) ?? []
    const ended = decide(COMMIT_TABLE, { found: foundOf(here, last.check), proven: next <= proven ? 'yes' : 'no' })
    if (ended !== 'take') return { taken, ended, next, proven }
    const location = here.find((candidate) => candidate.state === 'whole') as Location
    taken.push(location)
    last = location
  }
}

function foundOf(locations: readonly FrameLocation[], link: number): CommitFacts['found'] {
  const whole = locations.filter((location) => location.state === 'whole')
  if (whole.length === 0) return locations.some((location) => location.state === 'head') ? 'head' : 'nothing'
  // A file that was copied over another one has the same frames again.
  if (whole.some((location) => location.check !== (whole[0] as FrameLocation).check)) return 'two'
  return (whole[0] as FrameLocation).link === link ? 'whole' : 'unlinked'
}
