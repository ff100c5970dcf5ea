/** The errors for damaged data directories. */
import { MillraceError } from '../../../base/errors.ts'

/** Damage found at opening, before anything was changed. */
export function damaged(file: string, what: string, details: Readonly<Record<string, unknown>> = {}): MillraceError {
  return new MillraceError(
    'DATA_DAMAGED',
    `${file}: ${what}. Nothing was opened or changed. "millrace check" on the directory shows what is affected; then restore a backup, or let "millrace check --repair" save everything that can be read`,
    { file, ...details },
  )
}

/** Damage found by a read. The rest of the directory stays usable. */
export function damagedPart(
  file: string,
  what: string,
  details: Readonly<Record<string, unknown>> = {},
): MillraceError {
  return new MillraceError(
    'DATA_DAMAGED',
    `${file}: ${what}. The rest can be used. "millrace check" on the directory shows what is affected; then restore a backup, or close it and let "millrace check --repair" save everything that can be read`,
    { file, ...details },
  )
}

export function foreign(path: string, what: string): MillraceError {
  return new MillraceError(
    'DATA_FOREIGN',
    `${path}: ${what}. Use another directory, or the version of Millrace that wrote this one`,
    { path },
  )
}
