/** Access control as it is configured. */
import { knownOptions } from '../../base/units.ts'
import { Authenticator, type CredentialCheck } from './authenticator.ts'
import { JwtCheck, type JwtOptions } from './jwt-check.ts'
import type { Permissions } from './permissions.ts'
import { principalOf } from './principal.ts'
import { TokenCheck } from './token-check.ts'

/** Who may do what. With `{}` nobody may do anything. */
export interface AccessOptions {
  /** The file of tokens that `millrace tokens add` makes; `<data>/.tokens.json` unless it was told otherwise. */
  readonly tokens?: string
  /** JSON Web Tokens of an issuer. */
  readonly jwt?: JwtOptions
  /** What callers without credentials may do. @default nothing */
  readonly anonymous?: Permissions
}

/** @throws INVALID_OPTION */
export function authenticatorOf(options: AccessOptions | undefined, report: (error: unknown) => void): Authenticator {
  if (options === undefined) return new Authenticator(null)
  knownOptions(options, ['tokens', 'jwt', 'anonymous'], 'access')
  const { tokens, jwt, anonymous } = options
  const checks: CredentialCheck[] = []
  if (tokens !== undefined) checks.push(new TokenCheck(tokens, report))
  if (jwt !== undefined) checks.push(new JwtCheck(jwt))
  return new Authenticator(checks, anonymous === undefined ? null : principalOf({ name: 'anonymous', kind: 'local', permissions: anonymous }))
}
