/**
 * Determines the principal of a caller. Requests, streams and WebSocket upgrades all use this one place.
 *
 * Without access control, only callers on this machine are admitted; a request that came through a proxy does not count
 * as local. With access control, the credential is a bearer token in `Authorization`, or `access_token` in the query
 * (RFC 6750 §2.3) for clients that cannot set headers.
 */
import { existsSync } from 'node:fs'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { type Caller, isLoopbackAddress } from './caller.ts'
import { type Principal, principalOf } from './principal.ts'

/** A check of one kind of credentials. `null` means that the credential is not of this kind, or is not known. */
export interface CredentialCheck {
  verify(credential: string): Principal | null | Promise<Principal | null>
  close?(): void
}

const FORWARDED = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via'] as const
const CREDENTIAL_CHARS_MAX = 16_384

/**
 * A file of tokens that may not exist yet. There is no access control until it exists. From then on there is, even if
 * the file is removed.
 */
export interface AwaitedTokens {
  readonly file: string
  /** Called when the file exists: tokens are required from now on, and everything that was open has ended. */
  readonly arrived: () => void
}

export class Authenticator {
  #guards: boolean
  /**
   * The principal of every caller while there is no access control. Its streams and sockets end when access control
   * starts.
   */
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
   * `checks` is `null` for no access control. `anonymous` is the principal of callers without credentials, if such
   * callers are permitted anything. With `awaited`, access control starts when that file exists.
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

  /** Whether access control is on. */
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

  /**
   * @throws UNAUTHENTICATED when credentials are missing or invalid · FORBIDDEN when there is no access control and the
   * caller is not on this machine
   */
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

/** @throws UNAUTHENTICATED when the credential is not a bearer token, or there are two */
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
