/**
 * The file of tokens. It holds hashes, only its owner can read it, and it is replaced as a whole.
 *
 * A token is 256 random bits and is shown once, when it is made. The file holds its SHA-256. A slow hash would not make
 * it safer: 256 random bits cannot be guessed.
 */

import { createHash, randomBytes } from 'node:crypto'
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { MillraceError } from '../../base/errors.ts'
import { isJsonObject, isNumberFrom } from '../../base/json-object.ts'
import { TIME_MS_MAX } from '../../base/time-text.ts'
import { compilePermissions, type Permissions } from './permissions.ts'
import type { CallerLimits } from './principal.ts'

/** The stored entry of a token. */
export interface TokenEntry {
  readonly id: string
  readonly name: string
  /** In hexadecimal. */
  readonly sha256: string
  readonly permissions: Permissions
  readonly limits?: CallerLimits
  /** In RFC 3339. */
  readonly createdAt: string
  readonly expiresAt?: string
}

export interface NewToken {
  readonly name: string
  readonly permissions: Permissions
  readonly limits?: CallerLimits
  readonly expiresAtMs?: number
}

const FORMAT = 1
const LOCK_STALE_MS = 10_000

/** The path of the tokens file of a data directory. */
export function tokenFileOf(directory: string): string {
  return join(directory, '.tokens.json')
}

export function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

/** All tokens; none if there is no file. @throws INVALID_OPTION when the file has another format */
export function readTokens(path: string): readonly TokenEntry[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new MillraceError(
      'INVALID_OPTION',
      `${path} cannot be read: ${(error as Error).message}`,
      { path },
      { cause: error },
    )
  }
  try {
    const { format, tokens } = JSON.parse(text) as { readonly format: unknown; readonly tokens: readonly TokenEntry[] }
    if (format !== FORMAT || !tokens.every(isEntry)) throw new Error('not ours')
    for (const { permissions } of tokens) compilePermissions(permissions)
    return tokens
  } catch (cause) {
    throw new MillraceError(
      'INVALID_OPTION',
      `${path} is not a file of tokens that this version can read`,
      { path },
      { cause },
    )
  }
}

/** Checks an entry, which may be written by hand. A limit that is not a number would not limit anything. */
function isEntry({ id, name, sha256, limits = {}, expiresAt }: TokenEntry): boolean {
  if (![id, name, sha256].every((part) => typeof part === 'string') || !isJsonObject(limits)) return false
  return (
    Object.values(limits).every((limit) => isNumberFrom(limit, 1)) &&
    (expiresAt === undefined || Number.isFinite(Date.parse(expiresAt)))
  )
}

/**
 * Make a token. Only the result contains it. @throws INVALID_OPTION · UNAVAILABLE when another process is writing the
 * file
 */
export function addToken(
  path: string,
  { name, permissions, limits, expiresAtMs }: NewToken,
): { readonly token: string; readonly entry: TokenEntry } {
  compilePermissions(permissions)
  if (name === '')
    throw new MillraceError('INVALID_OPTION', 'a token has a name, by which it is listed and removed', {
      option: 'name',
    })
  if (expiresAtMs !== undefined && !(expiresAtMs <= TIME_MS_MAX)) {
    throw new MillraceError(
      'INVALID_OPTION',
      'expires is later than any date: leave it out for a token that does not expire',
      { option: 'expires' },
    )
  }
  if (Object.values(permissions).every((channels) => channels.length === 0)) {
    throw new MillraceError(
      'INVALID_OPTION',
      'a token without permissions has no use: give it --publish, --consume, --read, --manage or --rules',
      {},
    )
  }
  const token = `millrace_${randomBytes(32).toString('base64url')}`
  const entry: TokenEntry = {
    id: randomBytes(4).toString('hex'),
    name,
    sha256: hashOf(token),
    permissions,
    ...(limits !== undefined && { limits }),
    createdAt: new Date().toISOString(),
    ...(expiresAtMs !== undefined && { expiresAt: new Date(expiresAtMs).toISOString() }),
  }
  change(path, (tokens) => [...tokens, entry])
  return { token, entry }
}

/**
 * Remove the tokens with this id or name, and return their entries. Servers that use the file notice within about a
 * second.
 */
export function removeTokens(path: string, idOrName: string): readonly TokenEntry[] {
  const called = ({ id, name }: TokenEntry): boolean => id === idOrName || name === idOrName
  // If no token matches, nothing is written: a new file without tokens would keep every caller out.
  if (!readTokens(path).some(called)) return []
  let removed: readonly TokenEntry[] = []
  change(path, (tokens) => {
    removed = tokens.filter(called)
    return tokens.filter((token) => !removed.includes(token))
  })
  return removed
}

/**
 * Writes a new file beside the old one, syncs it, and renames it, so that a reader sees the old or the new file. The
 * new file also serves as the lock.
 */
function change(path: string, act: (tokens: readonly TokenEntry[]) => readonly TokenEntry[]): void {
  // This may create the data directory before the engine does: only its owner has access, as when the engine makes it.
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const beside = `${path}.new`
  const file = lock(beside)
  try {
    writeSync(file, `${JSON.stringify({ format: FORMAT, tokens: act(readTokens(path)) }, null, 2)}\n`)
    fsyncSync(file)
    renameSync(beside, path)
  } catch (error) {
    rmSync(beside, { force: true })
    throw error
  } finally {
    closeSync(file)
  }
  const folder = openSync(dirname(path), 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

function lock(beside: string): number {
  try {
    return openSync(beside, 'wx', 0o600)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    if (Date.now() - statSync(beside).mtimeMs > LOCK_STALE_MS) {
      rmSync(beside, { force: true })
      return openSync(beside, 'wx', 0o600)
    }
    throw new MillraceError('UNAVAILABLE', `${beside} exists: another process is changing the tokens; try again`, {
      path: beside,
    })
  }
}
