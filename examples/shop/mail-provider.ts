/**
 * A mail provider that behaves like real ones: it recognises a repeated request by its idempotency key, and fails now
 * and then.
 *
 * A sent letter is a file in the outbox, named by its key. The key also decides which requests fail, so that a run can
 * be repeated: of ten, three fail once and one fails twice, and every eleventh is refused until somebody redrives it
 * from the dead letters. The server of `greylisted.example` refuses the first attempt and says when to come back, as
 * some servers do with unknown senders.
 */
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

export interface Letter {
  /** The idempotency key. */
  readonly key: string
  readonly attempt: number
  /** Somebody has checked it and wants it sent: the mailbox has space now. */
  readonly insist: boolean
  readonly to: string
  readonly subject: string
}

export interface MailProvider {
  /** Rejects if the provider could not accept the letter. */
  send(letter: Letter): Promise<void>
}

/** The letter is accepted after a delay, not before. */
export class Greylisted extends Error {
  override readonly name = 'Greylisted'
  readonly delayMs = 60_000
}

const ALWAYS = 99

export async function openOutbox(folder: string): Promise<MailProvider> {
  await mkdir(folder, { recursive: true })
  return {
    async send({ key, attempt, insist, to, subject }) {
      await wait(40 + (hash(key) % 120))
      if (attempt === 1 && to.endsWith('@greylisted.example'))
        throw new Greylisted('451 greylisted, try again in a minute')
      const failures = failuresOf(key)
      if (attempt <= failures && !insist)
        throw new Error(failures === ALWAYS ? `550 mailbox of ${to} is full` : '421 the mail server is busy, try again')
      const file = join(folder, `${key}.json`)
      await writeFile(`${file}.part`, `${JSON.stringify({ to, subject, attempt })}\n`)
      await rename(`${file}.part`, file)
    },
  }
}

/** How often a request with this key fails. */
export function failuresOf(key: string): number {
  const number = hash(key)
  if (number % 11 === 0) return ALWAYS
  return number % 10 < 3 ? 1 : number % 10 === 3 ? 2 : 0
}

/** FNV-1a. */
function hash(text: string): number {
  let value = 0x811c9dc5
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193) >>> 0
  return value
}
