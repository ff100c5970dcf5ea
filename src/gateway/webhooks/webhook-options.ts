/** The configuration of webhook endpoints, and its checks. */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkName } from '../../base/names.ts'
import { type Duration, durationMs, knownOptions, type Size, sizeBytes, wholeNumber } from '../../base/units.ts'
import { github } from './github.ts'
import type { Scheme } from './scheme.ts'
import { shopify } from './shopify.ts'
import { slack } from './slack.ts'
import { standard } from './standard.ts'
import { stripe } from './stripe.ts'

const SCHEMES: Readonly<Record<WebhookOptions['scheme'], Scheme>> = { github, stripe, slack, shopify, standard }
const NAME = /^[A-Za-z0-9_-]{1,100}$/

/** An endpoint for one sender's webhooks: `POST /webhooks/NAME`. */
export interface WebhookOptions {
  /** The sender's scheme: how deliveries are signed, and what events they become. */
  readonly scheme: 'github' | 'stripe' | 'slack' | 'shopify' | 'standard'
  /** The secret that deliveries are signed with; several while one replaces another. */
  readonly secret: string | readonly string[]
  /**
   * The channel to publish to. If it does not exist, it is created as a stream with a deduplication window of a week.
   */
  readonly channel: string
  /** How old a delivery may be, if its time is signed (Stripe, Slack, Standard Webhooks). @default '5m' */
  readonly tolerance?: Duration
  /**
   * Largest event that a created channel accepts, from 256 bytes to 16 MiB: the delivery with what the gateway adds to
   * it. An existing channel must have this limit. @default the channel's own limit; 1 MiB if the channel is created
   */
  readonly maxEventBytes?: Size
}

export interface WebhookEndpoint {
  readonly name: string
  readonly scheme: Scheme
  readonly secrets: readonly string[]
  readonly channel: string
  readonly toleranceMs: number
  /** Null if the channel's own limit applies. */
  readonly eventBytesMax: number | null
}

/**
 * The endpoints by name, after all checks.
 * @throws INVALID_OPTION when an option is wrong · INVALID_NAME when the channel cannot have its name
 */
export function webhookEndpoints(
  options: Readonly<Record<string, WebhookOptions>>,
): ReadonlyMap<string, WebhookEndpoint> {
  return new Map(Object.entries(options).map(([name, each]) => [name, endpointOf(name, each)]))
}

function endpointOf(name: string, options: WebhookOptions): WebhookEndpoint {
  const option = `webhooks.${name}`
  const refuse = (why: string): never => {
    throw new MillraceError('INVALID_OPTION', `${option} ${why}`, { option })
  }
  if (!NAME.test(name)) refuse('cannot be the name of an endpoint: letters, digits, "_" and "-"')
  knownOptions(options, ['scheme', 'secret', 'channel', 'tolerance', 'maxEventBytes'], option)
  const { scheme, secret, channel, tolerance = LIMITS.webhookToleranceMs, maxEventBytes } = options
  if (!Object.hasOwn(SCHEMES, scheme)) refuse(`has no known scheme: use one of ${Object.keys(SCHEMES).join(', ')}`)
  const secrets: readonly unknown[] = Array.isArray(secret) ? secret : [secret]
  if (secrets.length === 0 || !secrets.every((each) => typeof each === 'string' && each !== ''))
    refuse('must have a secret, or several: without one, anybody could sign')
  for (const each of secrets as readonly string[]) {
    const fault = SCHEMES[scheme].faultOf(each)
    if (fault !== null) refuse(`has a secret that ${fault}`)
  }
  return {
    name,
    scheme: SCHEMES[scheme],
    secrets: secrets as readonly string[],
    channel: ourOwn(checkName(channel, 'channel'), refuse),
    toleranceMs: durationMs(tolerance, `${option}.tolerance`),
    eventBytesMax: maxEventBytes === undefined ? null : eventBytesOf(maxEventBytes, `${option}.maxEventBytes`),
  }
}

function eventBytesOf(size: Size, option: string): number {
  return wholeNumber(sizeBytes(size, option), option, LIMITS.eventBytesMin, LIMITS.eventBytesMax)
}

function ourOwn(channel: string, refuse: (why: string) => never): string {
  return channel.startsWith('$')
    ? refuse(`publishes to "${channel}", and channels that begin with "$" are written by Millrace itself`)
    : channel
}
