/** The configuration of access control. */
import { existsSync } from 'node:fs'
import { knownOptions } from '../../base/units.ts'
import { Authenticator, type AwaitedTokens, type CredentialCheck } from './authenticator.ts'
import { JwtCheck, type JwtOptions } from './jwt-check.ts'
import type { Permissions } from './permissions.ts'
import { principalOf } from './principal.ts'
import { TokenCheck } from './token-check.ts'

/** The callers and their permissions. `{}` permits nothing to any caller. */
export interface AccessOptions {
  /** The file of tokens that `millrace tokens add` writes: `<data>/.tokens.json` unless another path is given. */
  readonly tokens?: string | AwaitedTokens
  /** JSON Web Tokens of an issuer. */
  readonly jwt?: JwtOptions
  /** The permissions of callers without credentials. @default none */
  readonly anonymous?: Permissions
}

/**
 * The authenticator of a gateway's options.
 * @throws INVALID_OPTION when an option is wrong, or the file is not a file of tokens
 */
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

/** The tokens file that turns access control on, if it does not exist yet and nothing else asks for access control. */
function awaitedOf({ tokens, jwt, anonymous }: AccessOptions): AwaitedTokens | null {
  return typeof tokens === 'object' && jwt === undefined && anonymous === undefined && !existsSync(tokens.file)
    ? tokens
    : null
}

/** Whether access control is on now. */
export function isGuarded(options: AccessOptions | undefined): boolean {
  return options !== undefined && awaitedOf(options) === null
}
