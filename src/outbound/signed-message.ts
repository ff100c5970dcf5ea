/**
 * A message to a receiver's URL, signed as Standard Webhooks specifies, and the meaning of the receiver's answer.
 *
 * A 2xx answer is success. Every other answer, redirects included, is a failed attempt. 429 and 503 may say when the
 * next attempt is welcome (`ReceiverBusy`); 410 says that none is (`ReceiverGone`).
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { createHash } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import type { RetryOptions } from '../consumer/consumer-types.ts'
import {
  type GuardedRequest,
  guardedRequest,
  type HttpAnswer,
  type Resolver,
  systemResolver,
} from './guarded-request.ts'
import type { AddressGuard } from './public-address.ts'

/** What the sender provides for every message. */
export interface Sender {
  readonly guard: AddressGuard
  readonly resolver?: Resolver
  readonly nowMs: () => number
}

export interface NamedSecret {
  /** Named in errors, which never contain the secret itself. */
  readonly name: string
  readonly value: string
}

export interface SignedMessage extends Omit<GuardedRequest, 'signal'> {
  /** The same at every attempt. */
  readonly id: string
  /** The message is signed with each of them: with two while a secret is replaced. Without a secret it is unsigned. */
  readonly secrets: readonly NamedSecret[]
}

/** The receiver answered 410: it wants no further message. */
export class ReceiverGone extends Error {
  override readonly name = 'ReceiverGone'
}

/** The receiver asked for a pause. */
export class ReceiverBusy extends Error {
  override readonly name = 'ReceiverBusy'
  readonly delayMs: number

  constructor(message: string, delayMs: number) {
    super(message)
    this.delayMs = delayMs
  }
}

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** Standard Webhooks' schedule: the wait before each next attempt. */
const SCHEDULE_MS = [
  5000,
  5 * MINUTE_MS,
  30 * MINUTE_MS,
  2 * HOUR_MS,
  5 * HOUR_MS,
  10 * HOUR_MS,
  14 * HOUR_MS,
  20 * HOUR_MS,
  24 * HOUR_MS,
]

/** The default retries: ten attempts, with each wait of the schedule made up to 10 % longer or shorter. */
export function webhookRetry(random: () => number): RetryOptions {
  return {
    attempts: SCHEDULE_MS.length + 1,
    backoff: (attempt) => Math.round((SCHEDULE_MS[attempt - 1] ?? 24 * HOUR_MS) * (0.9 + random() * 0.2)),
  }
}

/** The same id for the same parts. It has no dots, because dots separate the id from the body in the signed text. */
export function messageId(...parts: readonly string[]): string {
  return `msg_${createHash('sha256').update(JSON.stringify(parts)).digest('base64url').slice(0, 27)}`
}

/**
 * Sends the message, and resolves with the receiver's answer if that is a success.
 *
 * @throws ReceiverGone · ReceiverBusy · FORBIDDEN · INVALID_OPTION · UNAVAILABLE
 */
export async function sendSigned(
  { id, secrets, ...message }: SignedMessage,
  signal: AbortSignal,
  sender: Sender,
): Promise<HttpAnswer> {
  const headers = { ...message.headers, ...signature(secrets, id, new Date(sender.nowMs()), message.body) }
  const answer = await guardedRequest({ ...message, headers, signal }, sender.guard, sender.resolver ?? systemResolver)
  requireSuccess(answer, new URL(message.url).origin, sender.nowMs())
  return answer
}

function signature(secrets: readonly NamedSecret[], id: string, time: Date, body: string): Record<string, string> {
  if (secrets.length === 0) return {}
  const signatures = secrets.map((secret) => signer(secret).sign(id, time, body))
  return {
    'webhook-id': id,
    'webhook-timestamp': String(Math.floor(time.getTime() / 1000)),
    'webhook-signature': signatures.join(' '),
  }
}

function signer({ name, value }: NamedSecret): Webhook {
  try {
    return new Webhook(value)
  } catch {
    throw new MillraceError(
      'INVALID_OPTION',
      `the secret "${name}" is not in base64, with or without "whsec_" before it`,
      { secret: name },
    )
  }
}

function requireSuccess({ status, headers, body }: HttpAnswer, origin: string, nowMs: number): void {
  if (status >= 200 && status < 300) return
  const text = body.subarray(0, LIMITS.httpAnswerBytesMax).toString()
  const said = text.trim() === '' ? '' : `: ${text.trim().slice(0, 200)}`
  const message = `${origin} answered ${status}${status >= 300 && status < 400 ? ', and redirects are not followed' : ''}${said}`
  if (status === 410) throw new ReceiverGone(message)
  const delayMs = status === 429 || status === 503 ? retryAfterMs(headers['retry-after'], nowMs) : null
  if (delayMs !== null) throw new ReceiverBusy(message, Math.min(delayMs, LIMITS.httpRetryAfterMsMax))
  throw new MillraceError('UNAVAILABLE', message, { origin, status })
}

/** `Retry-After` is a number of seconds or a date (RFC 9110, 10.2.3). */
function retryAfterMs(value: string | undefined, nowMs: number): number | null {
  if (value === undefined) return null
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs
  return Number.isFinite(ms) ? Math.max(0, ms) : null
}
