/**
 * Permissions of a caller: an action, and the channel names or wildcards for which it is permitted.
 *
 * Channels whose name begins with `$` are Millrace's own. No wildcard matches them: the permission to read `$audit`
 * must name it.
 */
import { MillraceError } from '../../base/errors.ts'
import { compileWildcard, isWildcard } from '../../base/names.ts'
import { knownOptions } from '../../base/units.ts'

/**
 * The actions: `publish` events, `consume` them (with leases), `read` without consuming, `manage` channels, consumers
 * and dead letters, change `rules`, read `metrics`, and see `sensitive` fields where they would be masked.
 */
export const ACTIONS = ['publish', 'consume', 'read', 'manage', 'rules', 'metrics', 'sensitive'] as const

export type Action = (typeof ACTIONS)[number]

/**
 * The channels of each action, by name or wildcard: `{ publish: ['orders.*'], read: ['>'] }`. Everything else is not
 * permitted.
 */
export type Permissions = Readonly<Partial<Record<Action, readonly string[]>>>

/** Whether an action is permitted on a channel, or on every channel that a wildcard matches. */
export type Permits = (action: Action, channel: string) => boolean

/**
 * The permissions as a function.
 * @throws INVALID_OPTION when an action or its list is wrong · INVALID_NAME when a wildcard is malformed
 */
export function compilePermissions(permissions: Permissions): Permits {
  knownOptions(permissions, ACTIONS, 'permissions')
  const granted = new Map<Action, readonly string[]>()
  for (const action of ACTIONS) {
    const patterns = permissions[action] ?? []
    if (!Array.isArray(patterns) || !patterns.every((pattern) => typeof pattern === 'string')) {
      throw new MillraceError(
        'INVALID_OPTION',
        `permissions.${action} must be an array of channel names and wildcards, such as ["orders.*"]`,
        { action },
      )
    }
    for (const pattern of patterns) compileWildcard(pattern)
    if (patterns.length > 0) granted.set(action, patterns)
  }
  return (action, channel) => granted.get(action)?.some((pattern) => covers(pattern, channel)) ?? false
}

/** Whether `granted` matches every channel that `asked` (a name or a wildcard) matches. */
export function covers(granted: string, asked: string): boolean {
  if (granted === asked) return true
  if (!isWildcard(granted)) return false
  const have = granted.split('.')
  const want = asked.split('.')
  if (want[0]?.startsWith('$') === true && have[0] !== want[0]) return false
  for (let at = 0; at < have.length; at++) {
    const word = want[at]
    if (word === undefined) return false
    if (have[at] === '>') return true
    if (word === '>' || (have[at] !== '*' && have[at] !== word)) return false
  }
  return have.length === want.length
}
