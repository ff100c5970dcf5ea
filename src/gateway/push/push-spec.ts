/** A push subscription, parsed from the JSON that a client sends. It is checked completely before it is stored. */
import { randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkName } from '../../base/names.ts'
import { durationMs, wholeNumber } from '../../base/units.ts'
import type { OnDead } from '../../broker/engine.ts'
import type { From } from '../../broker/position.ts'
import type { Want } from '../../broker/want.ts'
import type { RetryOptions } from '../../consumer/consumer-types.ts'
import { retryPolicy } from '../../consumer/retry-policy.ts'
import { parseRate, RATE_FORM, type Rate } from '../../outbound/rate.ts'
import { webhookRetry } from '../../outbound/signed-message.ts'
import { membersOf } from '../json-body.ts'
import { badRequest } from '../problem.ts'
import { channelsOf, fromOf, onDeadOf, PULL_SCHEMA, wantsOf } from '../pull/pull-spec.ts'
import type { JsonSchema } from '../route.ts'

export const PUSH_MEMBERS: readonly string[] = [
  ...[
    'channels',
    'from',
    'types',
    'where',
    'url',
    'headers',
    'secret',
    'timeout',
    'concurrency',
    'rate',
    'attempts',
    'backoff',
    'onDead',
  ],
  ...['handshake', 'reply', 'enabled'],
]

/** The JSON of a subscription as it is stored, with its secrets. */
export type PushJson = Readonly<Record<string, unknown>>

export interface PushSpec {
  readonly channels: readonly string[]
  readonly wants: readonly Want[]
  readonly from: From
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  /** Each request is signed with all of them. */
  readonly secrets: readonly string[]
  readonly timeoutMs: number
  readonly concurrency: number
  readonly rate: Rate | null
  readonly onDead: OnDead | null
  readonly handshake: boolean
  /** The channel for the events in the subscriber's answers. */
  readonly reply: string | null
  /** The retries. @default the schedule of Standard Webhooks */
  retry(random: () => number): RetryOptions
}

const { channels, types, where, onDead, attempts, backoff } = PULL_SCHEMA['properties'] as Readonly<
  Record<string, object>
>
const text = { type: 'string' }

export const PUSH_SCHEMA: JsonSchema = {
  type: 'object',
  required: ['channels', 'url'],
  properties: {
    channels,
    types,
    where,
    from: {
      type: ['string', 'integer'],
      description: 'The first position in a channel that the subscription has not read yet.',
      default: 'end',
    },
    url: {
      type: 'string',
      format: 'uri',
      description: 'Where each event is posted, in the structured mode of CloudEvents.',
    },
    headers: { type: 'object', additionalProperties: text, description: 'Sent with each event; never shown again.' },
    secret: {
      type: ['string', 'array'],
      description:
        'The secret for signing (whsec_…), or two while you change it. Without one, a secret is generated and shown once.',
    },
    timeout: {
      type: ['string', 'integer'],
      description: 'How long the subscriber may take to answer.',
      default: '15s',
    },
    concurrency: {
      type: 'integer',
      minimum: 1,
      maximum: LIMITS.pushConcurrencyMax,
      default: LIMITS.concurrencyDefault,
    },
    rate: { type: 'string', description: 'At most this many in each process: 10/s, 100/m, 5/h.' },
    attempts,
    backoff: {
      ...backoff,
      description: 'Waits between attempts, with full jitter. Without it: the schedule of Standard Webhooks.',
    },
    onDead,
    handshake: {
      type: 'boolean',
      description: 'Ask the subscriber first, as the CloudEvents webhook specification defines it.',
    },
    reply: {
      type: 'object',
      required: ['channel'],
      properties: { channel: text },
      additionalProperties: false,
      description: 'Publish the CloudEvents that the subscriber answers with.',
    },
    enabled: { type: 'boolean', default: true },
  },
  additionalProperties: false,
}

const SECRET = /^(?:whsec_)?([A-Za-z0-9+/]+={0,2})$/
const HEADER = /^[a-z0-9!#$%&'*+.^_`|~-]+$/
/** Headers that HTTP, the signature or the message sets. */
const BARRED_HEADERS =
  /^(?:host|content-.*|transfer-encoding|connection|keep-alive|upgrade|te|trailer|expect|proxy-.*|webhook-.*|ce-.*|prefer)$/
const HEADERS_MAX = 20

function invalid(option: string, why: string): never {
  throw new MillraceError('INVALID_OPTION', `${option} ${why}`, { option })
}

export function newSecret(): string {
  return `whsec_${randomBytes(32).toString('base64')}`
}

/**
 * The settings of a push subscription, after all checks.
 * @throws INVALID_REQUEST · INVALID_OPTION · INVALID_NAME · INVALID_PATTERN
 */
export function pushSpecOf(json: PushJson): PushSpec {
  const form = membersOf(json, PUSH_MEMBERS, 'a subscription') as Readonly<Record<string, unknown>>
  const {
    rate,
    reply,
    handshake = false,
    timeout = LIMITS.httpTimeoutMsDefault,
    concurrency = LIMITS.concurrencyDefault,
  } = form
  const timeoutMs = durationMs(timeout, 'timeout')
  if (timeoutMs < 1 || timeoutMs > LIMITS.pushTimeoutMsMax)
    invalid('timeout', `must be from 1 ms to ${LIMITS.pushTimeoutMsMax} ms; it is ${timeoutMs} ms`)
  if (typeof handshake !== 'boolean') invalid('handshake', 'must be true or false')
  const retry = retryOf(form)
  retryPolicy(retry(Math.random))
  return {
    channels: channelsOf(form['channels']),
    wants: wantsOf(form),
    from: fromOf(form['from'] ?? 'end'),
    url: urlOf(form['url']),
    headers: headersOf(form['headers'] ?? {}),
    secrets: secretsOf(form['secret']),
    timeoutMs,
    concurrency: wholeNumber(concurrency, 'concurrency', 1, LIMITS.pushConcurrencyMax),
    rate: rate === undefined ? null : rateOf(rate),
    onDead: onDeadOf(form['onDead']),
    handshake,
    reply: reply === undefined ? null : replyOf(reply),
    retry,
  }
}

function urlOf(value: unknown): string {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : null
  if (url === null || (url.protocol !== 'https:' && url.protocol !== 'http:'))
    return invalid('url', 'must be an absolute URL that begins with https:// or http://')
  if (url.username !== '' || url.password !== '')
    return invalid('url', 'must not contain a name or a password: put them into headers, which are not shown again')
  if (url.hash !== '') return invalid('url', 'must not have a fragment')
  return url.href
}

/** The address in the URL, or `null` for a host name, which is checked when it is resolved. */
export function addressIn(url: string): string | null {
  const hostname = new URL(url).hostname.replace(/^\[|\]$/g, '')
  return isIP(hostname) === 0 ? null : hostname
}

function headersOf(value: unknown): Readonly<Record<string, string>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return invalid('headers', 'must be an object of names and texts')
  const entries = Object.entries(value as Readonly<Record<string, unknown>>)
  if (entries.length > HEADERS_MAX) invalid('headers', `must be at most ${HEADERS_MAX}`)
  return Object.fromEntries(
    entries.map(([name, each]) => {
      const lower = name.toLowerCase()
      if (!HEADER.test(lower) || BARRED_HEADERS.test(lower))
        invalid('headers', `cannot have ${JSON.stringify(name.slice(0, 60))}`)
      if (typeof each !== 'string' || !/^[\t\x20-\x7e]*$/.test(each))
        return invalid('headers', `must have a text of printable ASCII for ${lower}`)
      return [lower, each]
    }),
  )
}

function secretsOf(value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (list.length === 0 || list.length > 2) return invalid('secret', 'must be one secret, or two while you change it')
  return list.map((each) => {
    const bytes = typeof each === 'string' ? Buffer.from(SECRET.exec(each)?.[1] ?? '', 'base64').length : 0
    return bytes >= 24 && bytes <= 64
      ? (each as string)
      : invalid('secret', 'must be 24 to 64 bytes in base64, with or without "whsec_" before it')
  })
}

function rateOf(value: unknown): Rate {
  return parseRate(value) ?? invalid('rate', `must be ${RATE_FORM}`)
}

function replyOf(value: unknown): string {
  const { channel } = membersOf(value, ['channel'], 'reply')
  return checkName(channel, 'channel')
}

function retryOf({ attempts, backoff }: Readonly<Record<string, unknown>>): PushSpec['retry'] {
  const own = attempts === undefined ? {} : { attempts: attempts as number }
  if (backoff === undefined) return (random) => ({ ...webhookRetry(random), ...own })
  if (typeof backoff !== 'object' || backoff === null)
    throw badRequest(400, 'backoff must be an object: {"min": "1s", "max": "10m"}')
  const waits = membersOf(backoff, ['min', 'max'], 'backoff') as { readonly min?: never; readonly max?: never }
  return () => ({ ...waits, ...own })
}
