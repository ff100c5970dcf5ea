/** Access control as it is configured. */
import { knownOptions } from '../../base/units.ts'
import { Authenticator, type CredentialCheck } from './authenticator.ts'
import type { Permissions } from './permissions.ts'
import { principalOf } from './principal.ts'

export interface AccessOptions {
  /** What callers without credentials may do. @default nothing */
  readonly anonymous?: Permissions
}

/** @throws INVALID_OPTION */
export function authenticatorOf(options: AccessOptions | undefined): Authenticator {
  if (options === undefined) return new Authenticator(null)
  knownOptions(options, ['anonymous'], 'access')
  const checks: CredentialCheck[] = []
  const { anonymous } = options
  return new Authenticator(checks, anonymous === undefined ? null : principalOf({ name: 'anonymous', kind: 'local', permissions: anonymous }))
}
