/**
 * `millrace.json`: what says that a directory is Millrace's, of which format, and which files there must be.
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { MillraceError } from '../../../base/errors.ts'
import { damaged, foreign } from './damage.ts'
import type { FileSystem } from './file-system.ts'
import { INDEX_FILE } from './index-db.ts'

const FORMAT_FILE = 'millrace.json'
const FORMAT = 1

export interface DirectoryFormat {
  readonly format: number
  /** Of this directory, for ever. */
  readonly id: string
  /** Journal files that there must be. */
  readonly journal: readonly string[]
}

/** Names that Millrace gives its files. */
const OURS = /^(?:millrace\.json(?:\.new)?|index\.mdb(?:-lock)?|journal-\d+|segment-\d{8}|owner.*)$/

/**
 * What the directory is. With `create`, one that is empty becomes Millrace's.
 * @throws DATA_FOREIGN when something else is there · DATA_MISSING · DATA_DAMAGED when files are missing
 */
export function readFormat(fs: FileSystem, directory: string, create: boolean): DirectoryFormat {
  const bytes = fs.readFile(join(directory, FORMAT_FILE))
  if (bytes === undefined) return createFormat(fs, directory, create)
  let format: DirectoryFormat
  try {
    format = JSON.parse(Buffer.from(bytes).toString()) as DirectoryFormat
  } catch {
    throw damaged(FORMAT_FILE, 'it is not JSON any more')
  }
  if (typeof format.format !== 'number' || !Array.isArray(format.journal))
    throw foreign(join(directory, FORMAT_FILE), 'the file is not one that Millrace wrote')
  if (format.format > FORMAT) throw foreign(directory, `the data has format ${format.format}, this version reads up to ${FORMAT}`)
  if (fs.readFile(join(directory, INDEX_FILE)) === undefined && format.journal.length > 0) throw damaged(INDEX_FILE, 'the file is missing')
  return format
}

function createFormat(fs: FileSystem, directory: string, create: boolean): DirectoryFormat {
  const names = fs.list(directory).filter((name) => !name.startsWith('owner'))
  const left = names.filter((name) => OURS.test(name) && name !== `${FORMAT_FILE}.new`)
  if (left.length > 0) throw damaged(FORMAT_FILE, `the file is missing, and ${left.slice(0, 3).join(', ')} are there`)
  const others = names.filter((name) => !OURS.test(name) && !name.startsWith('.') && name !== 'lost+found')
  if (others.length > 0) throw foreign(directory, `the directory holds files that are not Millrace's (${others.slice(0, 3).join(', ')})`)
  if (!create)
    throw new MillraceError('DATA_MISSING', `${directory} holds no Millrace data: start a broker on it first, or name another directory`, { directory })
  fs.makeDirectory(directory)
  const format = { format: FORMAT, id: randomUUID(), journal: [] }
  writeFormat(fs, directory, format)
  return format
}

export function writeFormat(fs: FileSystem, directory: string, format: DirectoryFormat): void {
  fs.replace(join(directory, FORMAT_FILE), Buffer.from(`${JSON.stringify(format, null, 2)}\n`))
}
