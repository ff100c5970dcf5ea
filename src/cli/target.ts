/** The broker that a command works on. */
import { existsSync } from 'node:fs'
import { MillraceError } from '../base/errors.ts'
import { withoutSecrets } from '../base/shown.ts'
import type { Broker } from '../broker/broker.ts'
import { type From, positionInText } from '../broker/position.ts'
import { directoryOf as directoryOfUrl, urlOfDirectory } from '../engines/embedded/directory-url.ts'
import { connect } from '../index.ts'

/**
 * A data directory, or another broker by its URL. The directory has priority, because the URL may come from the
 * environment.
 */
export interface TargetOptions {
  readonly data?: string
  readonly url?: string
  readonly json?: boolean
}

const DIRECTORY = './data'

/** The URL for `connect`. */
export function urlOf({ data, url }: TargetOptions): string {
  return data === undefined && url !== undefined ? url : urlOfDirectory(data ?? DIRECTORY)
}

/** The data directory. @throws INVALID_OPTION when the target is another broker */
export function directoryOf(options: TargetOptions): string {
  const url = urlOf(options)
  if (url.startsWith('file:')) return directoryOfUrl(url)
  throw new MillraceError('INVALID_OPTION', `${nameOf(options)} is not a data directory: give --file`, {
    url: nameOf(options),
  })
}

/** The broker's name for messages, without the credentials that a URL may contain. */
export function nameOf(options: TargetOptions): string {
  const url = urlOf(options)
  return url.startsWith('file:') ? url.slice('file:'.length) : withoutSecrets(url)
}

/** Open the broker for reading. A data directory is opened beside a process that may use it. */
export async function looking<Answer>(
  options: TargetOptions,
  act: (broker: Broker) => Promise<Answer>,
): Promise<Answer> {
  const url = urlOf(options)
  return using(await connect(url, { readOnly: url.startsWith('file:') }), act)
}

/**
 * Open the broker for changes. A data directory is opened as its owner, or through the process that owns it. @throws
 * DATA_MISSING: a misspelt name must not create a directory
 */
export async function changing<Answer>(
  options: TargetOptions,
  act: (broker: Broker) => Promise<Answer>,
): Promise<Answer> {
  const url = urlOf(options)
  if (url.startsWith('file:') && !existsSync(directoryOfUrl(url))) {
    const directory = directoryOfUrl(url)
    throw new MillraceError('DATA_MISSING', `${directory} does not exist: name a directory with Millrace data`, {
      directory,
    })
  }
  return writing(options, act)
}

/** The same, but a missing directory is created. */
export async function writing<Answer>(
  options: TargetOptions,
  act: (broker: Broker) => Promise<Answer>,
): Promise<Answer> {
  return using(await connect(urlOf(options), { source: '/millrace/cli' }), act)
}

async function using<Answer>(broker: Broker, act: (broker: Broker) => Promise<Answer>): Promise<Answer> {
  try {
    return await act(broker)
  } finally {
    await broker.close()
  }
}

/** A position on the command line: beginning, end, an offset, an age (1h), or a time (2026-01-31T12:00:00Z). */
export function positionOf(text: string): From {
  const position = positionInText(text)
  if (position !== undefined) return position
  throw new MillraceError(
    'INVALID_OPTION',
    `"${text}" is not a position in a channel: use beginning, end, an offset, an age such as 1h, or a time such as 2026-01-31T12:00:00Z`,
  )
}

/** A whole number on the command line. @throws INVALID_OPTION */
export function countOf(option: string, text: string, least = 0): number {
  const count = /^\d{1,15}$/.test(text) ? Number(text) : -1
  if (count >= least) return count
  const from = least === 0 ? '' : ` of ${least} or more`
  throw new MillraceError('INVALID_OPTION', `--${option} must be a whole number${from}; it is "${text.slice(0, 40)}"`, {
    option,
  })
}

/** The content of a file that an option names. @throws INVALID_OPTION when it cannot be read */
export function reading<Content>(path: string, read: (path: string) => Content): Content {
  try {
    return read(path)
  } catch (cause) {
    throw new MillraceError(
      'INVALID_OPTION',
      `${path} cannot be read: ${(cause as Error).message}`,
      { path },
      { cause },
    )
  }
}

/** JSON from the command line or a file. */
export function jsonOf(text: string, what: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new MillraceError('INVALID_OPTION', `${what} is not JSON: ${(cause as Error).message}`, { what })
  }
}
