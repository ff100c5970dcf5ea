/**
 * From a caller to a principal. The one place that says who somebody is: for requests, streams and WebSocket upgrades alike.
 *
 * Without access control only this machine is let in, and what came through a proxy is not from this machine. With it, credentials are a bearer
 * token in `Authorization`, or `access_token` in the query (RFC 6750 §2.3) for clients that can set no header.
 */
import { existsSync } from 'node:fs'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { type Caller, isLoopbackAddress } from './caller.ts'
import { type Principal, principalOf } from './principal.ts'

/** One kind of credentials. `null` is "none of mine". */
export interface CredentialCheck {
  verify(credential: string): Principal | null | Promise<Principal | null>
  close?(): void
}

const FORWARDED = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via'] as const
const CREDENTIAL_CHARS_MAX = 16_384

/** A file of tokens that is perhaps not there yet. Until it is, there is no access control; from then on there is, for good. */
export interface AwaitedTokens {
  readonly file: string
  /** Told when the file is there: tokens are asked for from now on, and what was open has ended. */
  readonly arrived: () => void
}

export class Authenticator {
  #guards: boolean
  /** Who asks while there is no access control. What such a one has open ends when there is. */
  readonly #local: Principal = principalOf({
    name: 'local',
    kind: 'local',
    permissions: 'everything',
    stillHolds: () => !this.guards,
  })
  readonly #checks: readonly CredentialCheck[]
  readonly #anonymous: Principal | null

  readonly #awaited: AwaitedTokens | null
  #looking: NodeJS.Timeout | null = null
  #lookedAtMs = Number.NEGATIVE_INFINITY

  /**
   * `null`: no access control. `anonymous` is who shows no credentials, where such may do something. With `awaited` there is no access control until
   * that file is there.
   */
  constructor(
    checks: readonly CredentialCheck[] | null,
    anonymous: Principal | null = null,
    awaited: AwaitedTokens | null = null,
  ) {
    this.#guards = checks !== null && awaited === null
    this.#awaited = awaited
    if (awaited !== null) this.#looking = setInterval(() => this.guards, LIMITS.gatewayCredentialsMs).unref()
    this.#checks = checks ?? []
    this.#anonymous = anonymous
  }

  /** Whether there is access control. */
  get guards(): boolean {
    const now = performance.now()
    if (this.#guards || this.#awaited === null || now - this.#lookedAtMs < LIMITS.gatewayCredentialsMs / 2)
      return this.#guards
    this.#lookedAtMs = now
    if (!existsSync(this.#awaited.file)) return false
    this.#guards = true
    this.#stopLooking()
    this.#awaited.arrived()
    return true
  }

  /** @throws UNAUTHENTICATED when there are no credentials or they do not hold · FORBIDDEN when it is not from this machine, without access control */
  authenticate(caller: Caller): Principal | Promise<Principal> {
    if (!this.guards) return localOnly(caller, this.#local)
    const credential = credentialOf(caller)
    if (credential !== null) return this.#verify(credential)
    if (this.#anonymous !== null) return this.#anonymous
    throw new MillraceError(
      'UNAUTHENTICATED',
      'this gateway asks for credentials: send "Authorization: Bearer <token>" (millrace tokens add makes one)',
    )
  }

  #stopLooking(): void {
    if (this.#looking !== null) clearInterval(this.#looking)
    this.#looking = null
  }

  close(): void {
    this.#stopLooking()
    for (const check of this.#checks) check.close?.()
  }

  async #verify(credential: string): Promise<Principal> {
    for (const check of this.#checks) {
      const found = check.verify(credential)
      const principal = found instanceof Promise ? await found : found
      if (principal !== null) return principal
    }
    throw new MillraceError(
      'UNAUTHENTICATED',
      'the credentials are not valid: the token is unknown, was removed, or has expired',
    )
  }
}

function localOnly(caller: Caller, local: Principal): Principal {
  if (caller.address !== undefined && !isLoopbackAddress(caller.address)) {
    throw new MillraceError(
      'FORBIDDEN',
      'this gateway has no access control, so it serves only this machine: give it tokens (millrace tokens add)',
    )
  }
  const forwarded = FORWARDED.find((name) => caller.header(name) !== undefined)
  if (forwarded === undefined) return local
  throw new MillraceError(
    'FORBIDDEN',
    `the request came through a proxy (it has a ${forwarded} header), and this gateway has no access control: give it tokens (millrace tokens add)`,
    { header: forwarded },
  )
}

/** @throws UNAUTHENTICATED when there is something else than a bearer token, or two of them */
function credentialOf(caller: Caller): string | null {
  const header = caller.header('authorization')
  const inQuery = caller.url.searchParams.getAll('access_token')
  if (header !== undefined && inQuery.length === 0) {
    const token = /^Bearer +([A-Za-z0-9\-._~+/]+=*)$/i.exec(header)?.[1]
    if (token !== undefined && token.length <= CREDENTIAL_CHARS_MAX) return token
    throw new MillraceError('UNAUTHENTICATED', 'the authorization header must be "Bearer <token>"')
  }
  if (header === undefined && inQuery.length === 0) return null
  const [token] = inQuery
  if (
    header === undefined &&
    inQuery.length === 1 &&
    token !== undefined &&
    token !== '' &&
    token.length <= CREDENTIAL_CHARS_MAX
  )
    return token
  throw new MillraceError(
    'UNAUTHENTICATED',
    'send one token: in the authorization header, or as access_token in the query',
  )
}
