/**
 * The directory that a `file:` URL names: `file:./data`, `file:data`, `file:/var/lib/app`, `file:///var/lib/app`. A URL
 * that would name another directory than the user expects is refused.
 */
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { MillraceError } from '../../base/errors.ts'
import { withoutSecrets } from '../../base/shown.ts'

/**
 * The directory that a `file:` URL names.
 * @throws INVALID_OPTION when the URL is malformed, or would name another directory than it seems to
 */
export function directoryOf(url: string): string {
  const rest = url.slice('file:'.length)
  const strange = /[?#]/.exec(rest)?.[0]
  if (strange !== undefined)
    throw wrong(
      url,
      `"${strange}" begins a part that the URL of a directory does not have: if it belongs to the name, write %${strange === '?' ? '3F' : '23'}`,
    )
  const path = rest.startsWith('//') ? absolute(url) : decoded(url, rest)
  if (path === '') throw wrong(url, 'it names no directory: write file:./data')
  if (path.includes('\0')) throw wrong(url, 'a path cannot hold a NUL character')
  if (/^~(?:\/|$)/.test(path))
    throw wrong(url, '~ is expanded by a shell only: write the whole path, or file:./~ for a directory of that name')
  if (process.platform !== 'win32' && /^[A-Za-z]:[\\/]/.test(path)) throw wrong(url, 'it is a Windows path')
  return resolve(path)
}

/** The `file:` URL of a directory. Characters with a meaning in URLs are encoded. */
export function urlOfDirectory(path: string): string {
  return `file:${path.replaceAll('%', '%25').replaceAll('?', '%3F').replaceAll('#', '%23')}`
}

function absolute(url: string): string {
  try {
    return fileURLToPath(url)
  } catch (cause) {
    throw wrong(
      url,
      `the part after // is a host, which a directory does not have (${(cause as Error).message}): write file:./data or file:///var/lib/app`,
      cause,
    )
  }
}

function decoded(url: string, path: string): string {
  try {
    return decodeURIComponent(path)
  } catch (cause) {
    throw wrong(url, 'a % must begin the code of a character: if it belongs to the name, write %25', cause)
  }
}

function wrong(url: string, why: string, cause?: unknown): MillraceError {
  const shownUrl = withoutSecrets(url)
  return new MillraceError(
    'INVALID_OPTION',
    `"${shownUrl}" is not the URL of a directory: ${why}`,
    { url: shownUrl },
    { cause },
  )
}
