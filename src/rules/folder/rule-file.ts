/** A file of rules, in YAML or JSON: one rule, a list of rules, or several YAML documents. */
import { createHash } from 'node:crypto'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { shown } from '../../base/shown.ts'
import { parseRule, type RuleDefinition } from '../rule.ts'
import { yamlValues } from './yaml-text.ts'

/** Whether a file of this name is a rule file. Names that begin with a dot are ignored. */
export function isRuleFile(name: string): boolean {
  return /^[^.].*\.(?:ya?ml|json)$/i.test(name)
}

export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 22)
}

/**
 * Parses the rules of a file, and checks each of them.
 *
 * @throws INVALID_RULE when it has no rule, or a wrong one; `details` has the file and the path of the wrong part ·
 * INVALID_OPTION when the name is not text
 */
export function parseRuleFile(text: string, name: string): readonly RuleDefinition[] {
  if (typeof name !== 'string')
    throw new MillraceError('INVALID_OPTION', `a rule file has a name; this is ${shown(name)}`, { option: 'name' })
  if (typeof text !== 'string') throw refused(name, `it must be text; this is ${shown(text)}`)
  if (Buffer.byteLength(text) > LIMITS.ruleFileBytesMax)
    throw refused(name, `it has more than ${LIMITS.ruleFileBytesMax} bytes`)
  const values = (/\.json$/i.test(name) ? [jsonOf(text, name)] : yamlOf(text, name)).flat() as unknown[]
  if (values.length === 0) throw refused(name, 'there is no rule in it')
  return values.map((value, index) => {
    try {
      parseRule(value)
      return value as RuleDefinition
    } catch (error) {
      const which = values.length === 1 ? '' : `rule ${index + 1}: `
      throw refused(name, `${which}${(error as Error).message}`, error instanceof MillraceError ? error.details : {})
    }
  })
}

function jsonOf(text: string, name: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw refused(name, `it is not JSON: ${(error as Error).message}`)
  }
}

function yamlOf(text: string, name: string): unknown[] {
  try {
    return yamlValues(text, 20).filter((value) => value !== null)
  } catch (cause) {
    const { name: kind, message } = cause as Error
    throw refused(name, `it is not YAML${kind === 'YAMLParseError' ? '' : ' that can be read'}: ${message}`)
  }
}

function refused(name: string, reason: string, details: MillraceError['details'] = {}): MillraceError {
  return new MillraceError('INVALID_RULE', `${name}: ${reason}`, { ...details, file: name, reason })
}
