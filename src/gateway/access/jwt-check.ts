/**
 * JSON Web Tokens as credentials, verified against an issuer's keys (JWKS).
 *
 * Permissions are in a claim of their own, `{ "millrace": { "publish": ["orders.*"] } }`, or in scopes,
 * `publish:orders.* read:>`. Only asymmetric algorithms are accepted; issuer, audience, subject and expiry are
 * required. A verified token is cached for up to a minute, and never beyond its expiry.
 * @see https://www.rfc-editor.org/rfc/rfc9068 · https://www.rfc-editor.org/rfc/rfc8725
 */
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose'
import { MillraceError } from '../../base/errors.ts'
import { knownOptions } from '../../base/units.ts'
import type { CredentialCheck } from './authenticator.ts'
import { isLoopbackHost } from './caller.ts'
import { ACTIONS, type Permissions } from './permissions.ts'
import { type Principal, principalOf } from './principal.ts'

export interface JwtOptions {
  /**
   * The keys: the key set itself, or its URL (https, or on this machine). The URL is fetched again when a token names
   * an unknown key.
   */
  readonly jwks: string | JSONWebKeySet
  /** The required value of `iss`. */
  readonly issuer: string
  /** A value that `aud` must contain. */
  readonly audience: string
  /** The accepted signature algorithms. @default EdDSA, Ed25519, ES256, ES384, PS256, PS384, RS256, RS384, RS512 */
  readonly algorithms?: readonly string[]
  /** The claim with the permissions. @default 'millrace' */
  readonly claim?: string
}

const ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'ES384', 'PS256', 'PS384', 'RS256', 'RS384', 'RS512']
const REMEMBERED_MAX = 1000
const REMEMBERED_MS = 60_000
const CLOCK_TOLERANCE_S = 5

export class JwtCheck implements CredentialCheck {
  readonly #options: JwtOptions
  readonly #keys: JWTVerifyGetKey
  readonly #algorithms: string[]
  /** Recently verified tokens, oldest first. */
  readonly #remembered = new Map<string, { readonly principal: Principal; readonly untilMs: number }>()

  /** @throws INVALID_OPTION when an option is missing or wrong */
  constructor(options: JwtOptions) {
    knownOptions(options, ['jwks', 'issuer', 'audience', 'algorithms', 'claim'], 'access.jwt')
    for (const name of ['issuer', 'audience'] as const) {
      if (typeof options[name] !== 'string' || options[name] === '')
        throw new MillraceError('INVALID_OPTION', `access.jwt.${name} is required`, { option: name })
    }
    this.#algorithms = [...(options.algorithms ?? ALGORITHMS)]
    const weak = this.#algorithms.find((algorithm) => algorithm.startsWith('HS') || algorithm === 'none')
    if (weak !== undefined)
      throw new MillraceError(
        'INVALID_OPTION',
        `access.jwt.algorithms may not have ${weak}: keys of a JWKS are public`,
        { algorithm: weak },
      )
    this.#options = options
    this.#keys = keysOf(options.jwks)
  }

  async verify(credential: string): Promise<Principal | null> {
    if (credential.split('.').length !== 3) return null
    const known = this.#remembered.get(credential)
    if (known !== undefined && known.untilMs > performance.now() && (known.principal.expiresAtMs ?? 0) > Date.now())
      return known.principal
    this.#remembered.delete(credential)
    const payload = await this.#payload(credential)
    if (payload === null) return null
    const principal = this.#principal(payload)
    if (principal === null) return null
    this.#remembered.set(credential, { principal, untilMs: performance.now() + REMEMBERED_MS })
    if (this.#remembered.size > REMEMBERED_MAX) this.#remembered.delete(this.#remembered.keys().next().value as string)
    return principal
  }

  async #payload(credential: string): Promise<JWTPayload | null> {
    try {
      const { issuer, audience } = this.#options
      const { payload } = await jwtVerify(credential, this.#keys, {
        issuer,
        audience,
        algorithms: this.#algorithms,
        requiredClaims: ['exp', 'sub'],
        clockTolerance: CLOCK_TOLERANCE_S,
      })
      return payload
    } catch (error) {
      if (isUnreachable(error))
        throw new MillraceError(
          'UNAVAILABLE',
          'the keys of the token’s issuer cannot be fetched: try again',
          {},
          { cause: error },
        )
      return null
    }
  }

  #principal(payload: JWTPayload): Principal | null {
    try {
      const permissions = (payload[this.#options.claim ?? 'millrace'] ?? scopesOf(payload['scope'])) as Permissions
      return principalOf({ name: `${payload.sub}`, kind: 'jwt', permissions, expiresAtMs: (payload.exp ?? 0) * 1000 })
    } catch {
      // A token with malformed permissions is not accepted.
      return null
    }
  }
}

function keysOf(jwks: JwtOptions['jwks']): JWTVerifyGetKey {
  if (typeof jwks !== 'string') return createLocalJWKSet(jwks)
  const url = URL.canParse(jwks) ? new URL(jwks) : null
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopbackHost(url.hostname.replace(/^\[|\]$/g, ''))))
    return createRemoteJWKSet(url)
  throw new MillraceError('INVALID_OPTION', 'access.jwt.jwks must be an https URL, or the key set itself', {
    option: 'jwks',
  })
}

/** Whether the keys could not be fetched, so that it is not known whether the token is valid. */
function isUnreachable(error: unknown): boolean {
  if (error instanceof errors.JWKSTimeout || error instanceof errors.JWKSInvalid) return true
  return !(error instanceof errors.JOSEError) || error.code === 'ERR_JOSE_GENERIC'
}

/** Permissions from scopes such as `publish:orders.* read:>`. Other scopes are ignored. */
function scopesOf(scope: unknown): Permissions {
  const permissions: Record<string, string[]> = {}
  if (typeof scope !== 'string') return permissions
  for (const word of scope.split(' ')) {
    const [, action, channel] = /^([a-z]+):(.+)$/.exec(word) ?? []
    const known = ACTIONS.find((one) => one === action)
    if (known !== undefined && channel !== undefined) permissions[known] = [...(permissions[known] ?? []), channel]
  }
  return permissions
}
