/**
 * The marker `millrace.json`: it identifies a directory as Millrace's, with its format version and the list of its
 * journal files. It contains its own checksum.
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { MillraceError } from '../../../base/errors.ts'
import { damaged, foreign } from './damage.ts'
import type { FileSystem } from './file-system.ts'
import { INDEX_FILE, indexState } from './index-file.ts'
import { readHead, rebuildHead } from './journal-head.ts'
import { DIRECTORY_TABLE, type DirectoryDecision, type DirectoryFacts, decide } from './recovery.ts'

export const FORMAT_FILE = 'millrace.json'
const FORMAT = 2

export interface DirectoryFormat {
  readonly format: number
  /** The directory's id, which never changes. */
  readonly id: string
  /** Journal files that must exist. */
  readonly journal: readonly string[]
}

/** Names of the files that hold data or describe it. `protectAll` sets their permissions on opening. */
export const DATA_FILES: RegExp = /^(?:millrace\.json|index\.mdb(?:-lock)?|journal-\d+|segment-\d{8})$/
/** Names of all files that Millrace creates. */
const OURS = /^(?:millrace\.json(?:\.new)?|index\.mdb(?:-lock)?|journal-\d+|segment-\d{8}|owner.*)$/
const DATA = /^(?:journal-\d+|segment-\d{8})$/

/** What the directory contains, and whether its index must still be created. */
export interface FoundDirectory {
  readonly format: DirectoryFormat
  readonly newIndex: boolean
}

/**
 * Read what the directory is. With `create`, an empty one is accepted as new.
 * @throws DATA_FOREIGN when it contains other files · DATA_MISSING · DATA_DAMAGED when files are missing
 */
export function readFormat(fs: FileSystem, directory: string, create: boolean): FoundDirectory {
  const { facts, format, names } = look(fs, directory)
  const decision = decide(DIRECTORY_TABLE, facts)
  if ((decision === 'create' || decision === 'new-index') && !create)
    throw new MillraceError(
      'DATA_MISSING',
      `${directory} holds no Millrace data: start a broker on it first, or name another directory`,
      { directory },
    )
  if (decision === 'create') return { format: createFormat(fs, directory), newIndex: true }
  if ((decision === 'open' || decision === 'new-index') && format !== null)
    return { format, newIndex: decision === 'new-index' }
  throw refused(directory, decision, names)
}

/**
 * Refuse a directory with files of another program before anything is written to it. Read errors are left to the code
 * that opens the directory. @throws DATA_FOREIGN
 */
export function refuseStrange(fs: FileSystem, directory: string): void {
  let found: Look
  try {
    found = look(fs, directory)
  } catch {
    return
  }
  if (decide(DIRECTORY_TABLE, found.facts) === 'strange') throw refused(directory, 'strange', found.names)
}

interface Look {
  readonly facts: DirectoryFacts
  /** The content of the marker, if it is valid. */
  readonly format: DirectoryFormat | null
  readonly names: readonly string[]
}

function look(fs: FileSystem, directory: string): Look {
  const names = fs.list(directory)
  const marker = readMarker(fs, directory)
  const format = typeof marker === 'string' ? null : marker
  const strange = names.filter((name) => !OURS.test(name) && !name.startsWith('.') && name !== 'lost+found')
  const ours = names.filter((name) => DATA.test(name))
  const data =
    format === null
      ? ours.length > 0
      : format.journal.length > 0 ||
        ours.some((name) => name.startsWith('segment-') || wasUsed(fs, join(directory, name)))
  const facts: DirectoryFacts = {
    marker: typeof marker === 'string' ? marker : 'whole',
    data: data ? 'some' : 'none',
    strange: strange.length > 0 ? 'some' : 'none',
    index: indexState(fs, join(directory, INDEX_FILE)),
  }
  return { facts, format, names: facts.marker === 'none' && data ? names.filter((name) => OURS.test(name)) : strange }
}

/** Whether a journal file ever had a frame. Without one, its creation may have been interrupted. */
function wasUsed(fs: FileSystem, path: string): boolean {
  const bytes = Buffer.from(fs.readFile(path) ?? [])
  return (readHead(bytes)?.firstSequence ?? 0) > 0 || rebuildHead(bytes, '') !== null
}

/** The content of the marker, or what is wrong with it. */
export function readMarker(
  fs: FileSystem,
  directory: string,
): DirectoryFormat | Exclude<DirectoryFacts['marker'], 'whole'> {
  const bytes = fs.readFile(join(directory, FORMAT_FILE))
  if (bytes === undefined) return 'none'
  let found: DirectoryFormat & { readonly check?: unknown }
  try {
    found = JSON.parse(Buffer.from(bytes).toString()) as DirectoryFormat
  } catch {
    return 'broken'
  }
  if (found === null || typeof found !== 'object') return 'broken'
  const { format, id, journal, check } = found
  if (check !== checkOf({ format, id, journal }))
    return typeof format === 'number' && format !== FORMAT && check === undefined ? 'other-format' : 'broken'
  return format === FORMAT ? { format, id, journal } : 'other-format'
}

function refused(directory: string, decision: DirectoryDecision, names: readonly string[]): MillraceError {
  const some = names.slice(0, 3).join(', ')
  switch (decision) {
    case 'strange':
      return foreign(directory, `the directory holds files that are not Millrace's (${some})`)
    case 'other-format':
      return foreign(
        join(directory, FORMAT_FILE),
        `the data has a format that this version does not know; it reads format ${FORMAT}`,
      )
    case 'marker-missing':
      return damaged(FORMAT_FILE, `the file is missing, and ${some || 'an index'} is there`)
    case 'index-missing':
      return damaged(INDEX_FILE, 'the file is missing')
    case 'index-damaged':
      return damaged(INDEX_FILE, 'it is not an LMDB file, or its header is damaged')
    default:
      return damaged(FORMAT_FILE, 'the file is damaged, or not one that Millrace wrote')
  }
}

function createFormat(fs: FileSystem, directory: string): DirectoryFormat {
  fs.makeDirectory(directory)
  const format = { format: FORMAT, id: randomUUID(), journal: [] }
  writeFormat(fs, directory, format)
  return format
}

export function writeFormat(
  fs: FileSystem,
  directory: string,
  { format, id, journal }: Omit<DirectoryFormat, 'format'> & { readonly format?: number },
): void {
  const said = { format: format ?? FORMAT, id, journal }
  fs.replace(
    join(directory, FORMAT_FILE),
    Buffer.from(`${JSON.stringify({ ...said, check: checkOf(said) }, null, 2)}\n`),
  )
}

function checkOf(format: DirectoryFormat): string {
  return crc32(JSON.stringify(format)).toString(16).padStart(8, '0')
}
