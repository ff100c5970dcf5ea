/**
 * What makes two failures count as the same: the error's name and code, and the first stack frame in the application.
 * Without such a frame it is the message, with numbers and quoted texts left out.
 */
import { createHash } from 'node:crypto'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DeadLetter } from '../../broker/description.ts'

type Failure = DeadLetter['failure']

export interface Fingerprint {
  readonly fingerprint: string
  readonly name: string
  readonly code: string | null
  readonly kind: Failure['kind']
  /** For example `sendMail (src/mail.ts:31)`. */
  readonly frame: string | null
}

type FailureFacts = Omit<Failure, 'code'> & { readonly code?: string | null }

/**
 * The folder of this package: stack frames in it are not the application's. Null in a bundle, where the package has no
 * folder of its own. In a CommonJS bundle, `import.meta.url` is undefined too.
 */
const OWN = ownFolder()
/** What is read of an error's texts, which may be of any size. */
const NAME_CHARS = 200
const STACK_CHARS = 32_768
const STACK_LINES = 200
const LINE_CHARS = 1000
const FRAME = /^\s*at (?:(?:async )?(.+?) \()?((?:file:\/\/)?[^()]+):(\d+):\d+\)?$/

export function fingerprintOf({ name, code = null, kind, message, stack = '' }: FailureFacts): Fingerprint {
  const frame = frameIn(stack)
  const [shortName, shortCode] = [name.slice(0, NAME_CHARS), code?.slice(0, NAME_CHARS) ?? null]
  const basis = [shortName, shortCode, kind, frame ?? worded(message)]
  const fingerprint = createHash('sha256').update(JSON.stringify(basis)).digest('hex').slice(0, 16)
  return { fingerprint, name: shortName, code: shortCode, kind, frame }
}

function frameIn(stack: string): string | null {
  for (const line of stack.slice(0, STACK_CHARS).split('\n', STACK_LINES)) {
    // Node's own frames are shorter. The text of an error may be anything, also a text that is slow to search.
    if (line.length > LINE_CHARS) continue
    const [, caller, file = '', at] = FRAME.exec(line) ?? []
    const path = file.replace(/^file:\/\//, '')
    if (file === '' || path.startsWith('node:') || path.includes('/node_modules/') || isOwn(path)) continue
    const short = path.split('/').slice(-2).join('/')
    return caller === undefined ? `${short}:${at}` : `${caller} (${short}:${at})`
  }
  return null
}

function ownFolder(): string | null {
  const { url = '' } = import.meta as { readonly url?: string }
  return /\/gateway\/letters\/fingerprint\.[jt]s$/.test(url) ? join(dirname(fileURLToPath(url)), '../../') : null
}

function isOwn(path: string): boolean {
  return OWN !== null && path.startsWith(OWN)
}

function worded(message: string): string {
  return message
    .slice(0, 300)
    .replace(/"[^"]*"|'[^']*'|`[^`]*`/g, '""')
    .replace(/\b[0-9a-f]{8,}(?:-[0-9a-f]{4,})*\b|\d+/gi, '#')
}
