/**
 * The `http` action: an event sent to a URL, signed as Standard Webhooks has it.
 *
 * A 2xx answer is success. Anything else is a failed attempt, redirects included; 429 and 503 may say when the next one is welcome, and 410
 * says that none ever is.
 * @see https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
 */
import { createHash } from 'node:crypto'
import { Webhook } from 'standardwebhooks'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { RetryOptions } from '../../consumer/consumer-types.ts'
import { encodeEvent } from '../../event/encode.ts'
import { type ActedOn, type Firing, sameEvent } from '../live/firing.ts'
import type { TemplateScope } from '../template/template.ts'
import { MISSING, TemplateFailure } from '../template/template-value.ts'
import { type Answer, type GuardedRequest, guardedRequest, type Resolver, systemResolver } from './guarded-request.ts'
import type { HttpAction } from './http-form.ts'
import type { AddressGuard } from './public-address.ts'

export interface HttpHost {
  readonly guard: AddressGuard
  readonly resolver?: Resolver
  /** The secret of a name such as `env:HOOK_SECRET`. */
  readonly secret: (name: string) => string | undefined
  readonly nowMs: () => number
  /** From 0 to 1, for jitter. */
  readonly random: () => number
}

/** The receiver is gone for good. */
export class Gone extends Error {
  override readonly name = 'Gone'
}

/** The receiver asks for a pause. */
export class Busy extends Error {
  override readonly name = 'Busy'
  readonly delayMs: number

  constructor(message: string, delayMs: number) {
    super(message)
    this.delayMs = delayMs
  }
}

const STRUCTURED = 'application/cloudevents+json; charset=utf-8'
const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** Standard Webhooks' schedule: the wait before each next attempt. */
const SCHEDULE_MS = [5000, 5 * MINUTE_MS, 30 * MINUTE_MS, 2 * HOUR_MS, 5 * HOUR_MS, 10 * HOUR_MS, 14 * HOUR_MS, 20 * HOUR_MS, 24 * HOUR_MS]

/** What holds where the action says nothing of retries: ten attempts, each wait a tenth longer or shorter. */
export function webhookRetry(random: () => number): RetryOptions {
  return { attempts: SCHEDULE_MS.length + 1, backoff: (attempt) => Math.round((SCHEDULE_MS[attempt - 1] ?? 24 * HOUR_MS) * (0.9 + random() * 0.2)) }
}

export interface HttpPreview {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The request that an event makes of the action, unsigned. @throws TemplateFailure */
export function httpRequestOf(action: HttpAction, on: Pick<ActedOn, 'text'>, scope: TemplateScope): HttpPreview {
  const headers: Record<string, string> = { 'user-agent': 'millrace', 'content-type': action.body === null ? STRUCTURED : 'application/json' }
  for (const [name, template] of action.headers) {
    const value = template.render(scope)
    if (value === undefined) continue
    if (!/^[\t\x20-\x7e]*$/.test(value)) throw new TemplateFailure(`the header "${name}" would hold characters that a header cannot carry`)
    headers[name] = value
  }
  return { method: action.method, url: action.url.render(scope) ?? '', headers, body: bodyOf(action, on, scope) }
}

function bodyOf(action: HttpAction, { text }: Pick<ActedOn, 'text'>, scope: TemplateScope): string {
  if (action.body === null) return encodeEvent(sameEvent(text), null, '/', Number.POSITIVE_INFINITY).text
  const value = action.body.render(scope)
  return JSON.stringify(value === MISSING ? null : value)
}

/** An id of the message that is the same at every attempt and after a redrive; without dots, which part it from what is signed. */
function messageId(rule: string, action: string, { channel, offset }: Firing): string {
  return `msg_${createHash('sha256')
    .update(JSON.stringify([rule, action, channel, offset]))
    .digest('base64url')
    .slice(0, 27)}`
}

function signature(action: HttpAction, id: string, time: Date, body: string, host: HttpHost): Record<string, string> {
  if (action.secrets.length === 0) return {}
  const signatures = action.secrets.map((name) => {
    const secret = host.secret(name)
    if (secret === undefined || secret === '') throw new MillraceError('FORBIDDEN', `the secret "${name}" is not known to this process`, { secret: name })
    return signer(secret, name).sign(id, time, body)
  })
  return { 'webhook-id': id, 'webhook-timestamp': String(Math.floor(time.getTime() / 1000)), 'webhook-signature': signatures.join(' ') }
}

function signer(secret: string, name: string): Webhook {
  try {
    return new Webhook(secret)
  } catch {
    throw new MillraceError('INVALID_OPTION', `the secret "${name}" is not in base64, with or without "whsec_" before it`, { secret: name })
  }
}

/** @throws TemplateFailure · Gone · Busy · FORBIDDEN · UNAVAILABLE */
export async function performHttp(rule: string, action: HttpAction, firing: Firing, scope: TemplateScope, signal: AbortSignal, host: HttpHost): Promise<void> {
  const { method, url, headers, body } = httpRequestOf(action, firing, scope)
  const signed = signature(action, messageId(rule, action.id, firing), new Date(host.nowMs()), body, host)
  const request: GuardedRequest = { method, url, headers: { ...headers, ...signed }, body, timeoutMs: action.timeoutMs ?? LIMITS.httpActionMsDefault, signal }
  judge(await guardedRequest(request, host.guard, host.resolver ?? systemResolver), new URL(url).origin, host.nowMs())
}

function judge({ status, retryAfter, text }: Answer, origin: string, nowMs: number): void {
  if (status >= 200 && status < 300) return
  const said = text.trim() === '' ? '' : `: ${text.trim().slice(0, 200)}`
  const message = `${origin} answered ${status}${status >= 300 && status < 400 ? ', and redirects are not followed' : ''}${said}`
  if (status === 410) throw new Gone(message)
  const delayMs = status === 429 || status === 503 ? retryAfterMs(retryAfter, nowMs) : null
  if (delayMs !== null) throw new Busy(message, Math.min(delayMs, LIMITS.httpRetryAfterMsMax))
  throw new MillraceError('UNAVAILABLE', message, { origin, status })
}

/** Seconds, or a date (RFC 9110, 10.2.3). */
function retryAfterMs(value: string | undefined, nowMs: number): number | null {
  if (value === undefined) return null
  const ms = /^\d+$/.test(value) ? Number(value) * 1000 : Date.parse(value) - nowMs
  return Number.isFinite(ms) ? Math.max(0, ms) : null
}
