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
 * The folder of this package: stack frames in it are not the application's. Null in a bundle: there the package has no
 * folder of its own, and CommonJS has no URL.
 */
const OWN = ownFolder()
const FRAME = /^\s*at (?:(?:async )?(.+?) \()?((?:file:\/\/)?[^()]+):(\d+):\d+\)?$/

export function fingerprintOf({ name, code = null, kind, message, stack = '' }: FailureFacts): Fingerprint {
  const frame = frameIn(stack)
  const basis = [name, code, kind, frame ?? worded(message)]
  const fingerprint = createHash('sha256').update(JSON.stringify(basis)).digest('hex').slice(0, 16)
  return { fingerprint, name, code, kind, frame }
}

function frameIn(stack: string): string | null {
  for (const line of stack.split('\n')) {
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
