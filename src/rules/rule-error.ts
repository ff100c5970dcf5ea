/** Refuses a rule, with the path of the wrong part and the reason. */
import { MillraceError } from '../base/errors.ts'
import { shown as shownValue } from '../base/shown.ts'

/** Refuses a rule. @throws INVALID_RULE with `details` { path, reason } */
export function refuseRule(path: string, reason: string): never {
  throw new MillraceError('INVALID_RULE', `the rule is malformed${path === '' ? '' : ` at "${path}"`}: ${reason}`, {
    path,
    reason,
  })
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A value for an error message, shortened. */
export function shown(value: unknown): string {
  const text = value === undefined ? 'nothing' : jsonOf(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}

function jsonOf(value: unknown): string {
  try {
    return JSON.stringify(value) ?? shownValue(value)
  } catch {
    return shownValue(value)
  }
}

/** Checks that `value` is an object with only these members. @throws INVALID_RULE */
export function membersOf(value: unknown, path: string, known: readonly string[]): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) return refuseRule(path, `an object is needed, not ${shown(value)}`)
  for (const name of Object.keys(value)) {
    readable(value, name, path)
    if (!known.includes(name))
      return refuseRule(
        path === '' ? name : `${path}.${name}`,
        `there is no "${name}" here; there are ${known.join(', ')}`,
      )
  }
  return value
}

function readable(value: Readonly<Record<string, unknown>>, name: string, path: string): void {
  try {
    void value[name]
  } catch {
    refuseRule(path === '' ? name : `${path}.${name}`, 'it cannot be read: its getter throws')
  }
}

/** Checks that `value` is a text that is not empty. @throws INVALID_RULE */
export function textOf(value: unknown, path: string): string {
  return typeof value === 'string' && value !== '' ? value : refuseRule(path, `a text is needed, not ${shown(value)}`)
}

/** Runs a check of a part of the rule. Its error becomes INVALID_RULE, with the path of that part. */
export function within<Value>(path: string, check: () => Value): Value {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof MillraceError) || error.code === 'INVALID_RULE') throw error
    const inner =
      typeof error.details['path'] === 'string' && error.details['path'] !== ''
        ? `${path}.${error.details['path']}`
        : path
    throw new MillraceError('INVALID_RULE', `the rule is malformed at "${inner}": ${error.message}`, {
      ...error.details,
      path: inner,
      reason: error.message,
    })
  }
}
