/** Access control as it is configured. */
import { existsSync } from 'node:fs'
import { knownOptions } from '../../base/units.ts'
import { Authenticator, type AwaitedTokens, type CredentialCheck } from './authenticator.ts'
import { JwtCheck, type JwtOptions } from './jwt-check.ts'
import type { Permissions } from './permissions.ts'
import { principalOf } from './principal.ts'
import { TokenCheck } from './token-check.ts'

/** Who may do what. With `{}` nobody may do anything. */
export interface AccessOptions {
  /** The file of tokens that `millrace tokens add` makes; `<data>/.tokens.json` unless it was told otherwise. */
  readonly tokens?: string | AwaitedTokens
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
  if (tokens !== undefined) checks.push(new TokenCheck(typeof tokens === 'string' ? tokens : tokens.file, report))
  if (jwt !== undefined) checks.push(new JwtCheck(jwt))
  const nobody =
    anonymous === undefined ? null : principalOf({ name: 'anonymous', kind: 'local', permissions: anonymous })
  return new Authenticator(checks, nobody, awaitedOf(options))
}

/** The file without which there is no access control, while it is not there. */
function awaitedOf({ tokens, jwt, anonymous }: AccessOptions): AwaitedTokens | null {
  return typeof tokens === 'object' && jwt === undefined && anonymous === undefined && !existsSync(tokens.file)
    ? tokens
    : null
}

/** Whether there is access control now. */
export function isGuarded(options: AccessOptions | undefined): boolean {
  return options !== undefined && awaitedOf(options) === null
}
