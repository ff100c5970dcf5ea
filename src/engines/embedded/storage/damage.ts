/** The errors of a data directory that cannot be trusted. */
import { MillraceError } from '../../../base/errors.ts'

export function damaged(file: string, what: string, details: Readonly<Record<string, unknown>> = {}): MillraceError {
  return new MillraceError(
    'DATA_DAMAGED',
    `${file}: ${what}. Nothing was opened or changed. Restore the directory from a backup, or keep a copy of it before any attempt at repair`,
    { file, ...details },
  )
}

export function foreign(path: string, what: string): MillraceError {
  return new MillraceError('DATA_FOREIGN', `${path}: ${what}. Use another directory, or the version of Millrace that wrote this one`, { path })
}
