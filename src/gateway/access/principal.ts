/** Who a request is from, and what that one may do. Made by the authenticator; asked by routes and sockets. */
import { MillraceError } from '../../base/errors.ts'
import { type Action, compilePermissions, type Permissions } from './permissions.ts'

/** Bounds on one caller; those that are not given are the gateway's. */
export interface CallerLimits {
  /** Requests a second, over a second or so. */
  readonly requestsPerSecond?: number
  /** Requests, streams and sockets open at once. */
  readonly open?: number
  /** Bytes of request bodies held at once. */
  readonly bytes?: number
}

export interface Principal {
  /** Of its kind, unique: the token's id, the JWT's subject. */
  readonly name: string
  /** `local` is whoever reaches a gateway without access control; `owner` is this process's own user. */
  readonly kind: 'local' | 'token' | 'jwt' | 'owner'
  readonly limits: CallerLimits
  /** When it ends to hold, in milliseconds since the epoch; long-lived streams and sockets end then. */
  readonly expiresAtMs: number | null
  /** Whether its credentials still hold: what is long-lived asks now and then. */
  holds(): boolean
  /** Whether it may do this to a channel, or to all that a wildcard stands for. */
  permits(action: Action, channel: string): boolean
}

export interface PrincipalFacts extends Pick<Principal, 'name' | 'kind'> {
  readonly permissions: Permissions | 'everything'
  readonly limits?: CallerLimits
  readonly expiresAtMs?: number | null
  /** Asked besides the expiry. */
  readonly stillHolds?: () => boolean
}

/** The channels by which rules live and act: whoever may change rules on all channels runs them, too. */
function isOfRules(channel: string): boolean {
  return channel === '$rules' || channel.startsWith('$rule.')
}

/** Channels that begin with `$` are written by Millrace: what stands in `$audit` is what happened. */
export function principalOf({
  permissions,
  limits = {},
  expiresAtMs = null,
  stillHolds,
  ...who
}: PrincipalFacts): Principal {
  const granted = permissions === 'everything' ? () => true : compilePermissions(permissions)
  const permits = (action: Action, channel: string): boolean => {
    if (isOfRules(channel) && granted('rules', '>')) return true
    return action === 'publish' && channel.startsWith('$') && who.kind !== 'owner' ? false : granted(action, channel)
  }
  const holds = (): boolean =>
    (expiresAtMs === null || Date.now() < expiresAtMs) && (stillHolds === undefined || stillHolds())
  return { ...who, limits, expiresAtMs, holds, permits }
}

const WORDS: Readonly<Record<Action, string>> = {
  publish: 'publish to',
  consume: 'consume',
  read: 'read',
  manage: 'manage',
  rules: 'change rules on',
}

/**
 * The refusal of what has a name of its own (a consumer, rule, subscription): the same whether it is there or not, and without the channels that it has.
 */
export function notYours(
  principal: Principal,
  action: Action,
  what: 'consumer' | 'rule' | 'subscription',
  name: string,
): MillraceError {
  const verb = action === 'rules' ? 'change' : action
  return new MillraceError(
    'FORBIDDEN',
    `there is no ${what} "${name.slice(0, 100)}" that ${principal.kind} "${principal.name}" may ${verb}: the caller needs the permission for every channel of it`,
    { action, [what]: name.slice(0, 100) },
  )
}

/** For what is long-lived: the credentials that let it in must hold still. @throws UNAUTHENTICATED */
export function requireHeld(principal: Principal): void {
  if (!principal.holds()) {
    throw new MillraceError(
      'UNAUTHENTICATED',
      `the credentials of ${principal.kind} "${principal.name}" are no longer valid: they were removed, or have expired`,
    )
  }
}

/** @throws FORBIDDEN */
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
