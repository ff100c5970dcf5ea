/** The authenticated sender of a request and its permissions. The authenticator makes it; routes and sockets use it. */
import { MillraceError } from '../../base/errors.ts'
import { isOwnChannel } from '../../base/names.ts'
import { type Action, compilePermissions, type Permissions } from './permissions.ts'

/** Limits for one caller. A limit that is not given is the gateway's. */
export interface CallerLimits {
  /** Requests per second, averaged over about a second. */
  readonly requestsPerSecond?: number
  /** Requests, streams and sockets that are open at the same time. */
  readonly open?: number
  /** Bytes of request bodies that are in memory at the same time. */
  readonly bytes?: number
}

export interface Principal {
  /** Unique within its kind: the token's id, or the JWT's subject. */
  readonly name: string
  /** `local` is any caller of a gateway without access control; `owner` is the user of this process. */
  readonly kind: 'local' | 'token' | 'jwt' | 'owner'
  readonly limits: CallerLimits
  /** The expiry in milliseconds since the epoch. Streams and sockets end then. */
  readonly expiresAtMs: number | null
  /** Whether its credentials are still valid. Long-lived connections check this regularly. */
  holds(): boolean
  /** Whether the action is permitted on a channel, or on every channel that a wildcard matches. */
  permits(action: Action, channel: string): boolean
}

export interface PrincipalFacts extends Pick<Principal, 'name' | 'kind'> {
  readonly permissions: Permissions | 'everything'
  readonly limits?: CallerLimits
  readonly expiresAtMs?: number | null
  /** Checked in addition to the expiry. */
  readonly stillHolds?: () => boolean
}

/** The channels that hold rules and run them. A caller that may change rules on all channels may also use these. */
function isOfRules(channel: string): boolean {
  return channel === '$rules' || channel.startsWith('$rule.')
}

/** The channels that hold schedules and run them. A caller that may manage all channels may also use these. */
function isOfSchedules(channel: string): boolean {
  return channel === '$schedules' || channel === '$schedules.due' || channel.startsWith('$schedule.')
}

/**
 * Makes a principal. Nobody is permitted to publish to channels that begin with `$`: Millrace alone writes them, so
 * that `$audit` can be trusted.
 */
export function principalOf({
  permissions,
  limits = {},
  expiresAtMs = null,
  stillHolds,
  ...identity
}: PrincipalFacts): Principal {
  const granted = permissions === 'everything' ? () => true : compilePermissions(permissions)
  const permits = (action: Action, channel: string): boolean => {
    if (isOfRules(channel) && granted('rules', '>')) return true
    if (isOfSchedules(channel) && granted('manage', '>')) return true
    return action === 'publish' && isOwnChannel(channel) && channel !== '$replies' && identity.kind !== 'owner'
      ? false
      : granted(action, channel)
  }
  const holds = (): boolean =>
    (expiresAtMs === null || Date.now() < expiresAtMs) && (stillHolds === undefined || stillHolds())
  return { ...identity, limits, expiresAtMs, holds, permits }
}

const WORDS: Readonly<Record<Action, string>> = {
  publish: 'publish to',
  consume: 'consume',
  read: 'read',
  manage: 'manage',
  rules: 'change rules on',
  metrics: 'read the metrics of',
  sensitive: 'see the sensitive fields of',
}

/**
 * The refusal for a consumer, rule, subscription or schedule. It is the same whether the thing exists or not, and does
 * not name its channels.
 */
export function notYours(
  principal: Principal,
  action: Action,
  what: 'consumer' | 'rule' | 'subscription' | 'schedule',
  name: string,
): MillraceError {
  const verb = action === 'rules' ? 'change' : action
  return new MillraceError(
    'FORBIDDEN',
    `there is no ${what} "${name.slice(0, 100)}" that ${principal.kind} "${principal.name}" may ${verb}: the caller needs the permission for every channel of it`,
    { action, [what]: name.slice(0, 100) },
  )
}

/** For long-lived connections: check that the credentials are still valid. @throws UNAUTHENTICATED when they are not */
export function requireHeld(principal: Principal): void {
  if (!principal.holds()) {
    throw new MillraceError(
      'UNAUTHENTICATED',
      `the credentials of ${principal.kind} "${principal.name}" are no longer valid: they were removed, or have expired`,
    )
  }
}

/** Checks that the caller may do this on the channel. @throws FORBIDDEN when the caller lacks the permission */
export function requirePermission(principal: Principal, action: Action, channel: string): void {
  if (principal.permits(action, channel)) return
  const why = isOfRules(channel)
    ? 'the permission to change rules on all channels is needed (rules: ">")'
    : action === 'publish' && channel.startsWith('$')
      ? 'channels that begin with "$" are written by Millrace itself'
      : 'ask for a token that has the permission'
  throw new MillraceError(
    'FORBIDDEN',
    `${principal.kind} "${principal.name}" may not ${WORDS[action]} "${channel.slice(0, 200)}": ${why}`,
    {
      action,
      channel: channel.slice(0, 200),
    },
  )
}
