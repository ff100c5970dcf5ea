/**
 * Recovery, as tables: what may be found in a data directory, and what is done then. Every state that a crash, a power cut or a full disk can leave is opened
 * with all that was acknowledged; every other is refused, or opened where what is left tells without doubt what was there.
 *
 * The tables cover all combinations of their columns (tests go through every one); the first row that fits decides, `any` fits everything.
 * docs/format.md says how each state comes about.
 */
import type { FramePlace } from './frame-codec.ts'

/** The marker `millrace.json`, the index and the data files beside them. */
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
  // The marker is the first file there is: without it, ours are the remains of more.
  { marker: 'none', data: 'some', strange: any, index: any, decision: 'marker-missing' },
  { marker: 'none', data: 'none', strange: any, index: 'whole', decision: 'marker-missing' },
  { marker: 'none', data: 'none', strange: any, index: 'broken', decision: 'marker-missing' },
  { marker: 'none', data: 'none', strange: 'some', index: 'none', decision: 'strange' },
  { marker: 'none', data: 'none', strange: 'none', index: 'none', decision: 'create' },
  { marker: 'whole', data: 'some', strange: any, index: 'whole', decision: 'open' },
  // The index is made and synced before the first journal file: the directory was being made, and nothing has been in it.
  { marker: 'whole', data: 'none', strange: any, index: any, decision: 'new-index' },
  { marker: 'whole', data: 'some', strange: any, index: 'none', decision: 'index-missing' },
  { marker: 'whole', data: 'some', strange: any, index: 'broken', decision: 'index-damaged' },
]

/** A journal file, before its frames are looked at. */
export interface FileFacts {
  /** In the marker's list. A file is synced before it is listed, and listed before it is used. */
  readonly listed: 'yes' | 'no'
  readonly head: 'missing' | 'whole' | 'other-directory' | 'damaged'
  /** Shorter than its head says, or at least as long. */
  readonly size: 'short' | 'enough'
  /** Whether the first frame is whole: it repeats what the head said. */
  readonly firstFrame: 'whole' | 'not'
}
export type FileDecision = 'use' | 'use-rebuilt' | 'ignore' | 'missing' | 'foreign' | 'short' | 'head-damaged'

export const FILE_TABLE: readonly Row<FileFacts, FileDecision>[] = [
  { listed: 'yes', head: 'missing', size: any, firstFrame: any, decision: 'missing' },
  { listed: 'no', head: 'missing', size: any, firstFrame: any, decision: 'ignore' },
  { listed: any, head: 'other-directory', size: any, firstFrame: any, decision: 'foreign' },
  { listed: 'yes', head: 'whole', size: 'enough', firstFrame: any, decision: 'use' },
  { listed: 'yes', head: 'whole', size: 'short', firstFrame: any, decision: 'short' },
  // It was being made, and may not be on the disk as it is in the page cache. One that has a frame was used, and so listed: the list is older than it.
  { listed: 'no', head: 'whole', size: any, firstFrame: 'not', decision: 'ignore' },
  { listed: 'no', head: 'whole', size: 'enough', firstFrame: 'whole', decision: 'use' },
  { listed: 'no', head: 'whole', size: 'short', firstFrame: 'whole', decision: 'short' },
  { listed: 'no', head: 'damaged', size: any, firstFrame: 'not', decision: 'ignore' },
  { listed: any, head: 'damaged', size: any, firstFrame: 'whole', decision: 'use-rebuilt' },
  { listed: 'yes', head: 'damaged', size: any, firstFrame: 'not', decision: 'head-damaged' },
]

/** The commit after the last one that was taken up. */
export interface CommitFacts {
  /** Of its frame: nothing; its head alone; it whole; it whole, but following another history; two that differ. */
  readonly found: 'nothing' | 'head' | 'whole' | 'unlinked' | 'two'
  /** Whether it is certain that it was synced: a later frame was begun, or an end mark or the index names it. */
  readonly proven: 'yes' | 'no'
}
export type CommitDecision = 'take' | 'end' | 'damaged' | 'other-history'

export const COMMIT_TABLE: readonly Row<CommitFacts, CommitDecision>[] = [
  { found: 'whole', proven: any, decision: 'take' },
  // The commit that was cut off, of which nobody was told.
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

/** A commit by its number and checksum: the last that is in the index. */
export interface CommitName {
  readonly sequence: number
  readonly check: number
}

/** Frames after the last applied, of all files: which are taken up, and why it ends where it ends. */
export interface Chain<Place extends FramePlace> {
  readonly taken: readonly Place[]
  readonly ended: Exclude<CommitDecision, 'take'>
  /** The commit that was not taken. */
  readonly next: number
  /** The last commit of which it is certain that it was synced. */
  readonly proven: number
}

export function chainOf<Place extends FramePlace>(applied: CommitName, places: readonly Place[]): Chain<Place> {
  let proven = applied.sequence
  const bySequence = new Map<number, Place[]>()
  for (const place of places) {
    if (place.sequence <= applied.sequence) continue
    proven = Math.max(proven, place.state === 'end' ? place.sequence : place.sequence - 1)
    bySequence.set(place.sequence, [...(bySequence.get(place.sequence) ?? []), place])
  }
  const taken: Place[] = []
  let last: CommitName = applied
  for (;;) {
    const next = last.sequence + 1
    const here = bySequence.get(next) ?? []
    const ended = decide(COMMIT_TABLE, { found: foundOf(here, last.check), proven: next <= proven ? 'yes' : 'no' })
    if (ended !== 'take') return { taken, ended, next, proven }
    const place = here.find((candidate) => candidate.state === 'whole') as Place
    taken.push(place)
    last = place
  }
}

function foundOf(places: readonly FramePlace[], link: number): CommitFacts['found'] {
  const whole = places.filter((place) => place.state === 'whole')
  if (whole.length === 0) return places.some((place) => place.state === 'head') ? 'head' : 'nothing'
  // A file that was copied over another holds the same frames once more.
  if (whole.some((place) => place.check !== (whole[0] as FramePlace).check)) return 'two'
  return (whole[0] as FramePlace).link === link ? 'whole' : 'unlinked'
}
