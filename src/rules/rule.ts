/** A rule, parsed from data and checked completely: ready to match events and to perform its actions. */
import { LIMITS } from '../base/limits.ts'
import { checkName, compileWildcard, isWildcard } from '../base/names.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { type Action, parseActions } from './action/action.ts'
import { type Condition, compileCondition } from './condition.ts'
import { membersOf, refuseRule, shown, within } from './rule-error.ts'

/**
 * A rule: a handler as data. docs/guide/rules.md lists its members; `then` is checked when the rule is read.
 */
export interface RuleDefinition {
  /** Words of letters, digits, `_` and `-`, joined by dots; up to 100 characters. */
  readonly name: string
  /** A text for readers of the rule. */
  readonly description?: string
  /** The channels: a name, a wildcard such as `orders.*`, or several. Streams only. */
  readonly on: string | readonly string[]
  /** An event pattern, or a CloudEvents SQL expression. @default every event */
  readonly when?: PatternJson | string
  /** An action or several: `emit`, `forward`, `http`, `call`, `drop`. */
  readonly then: unknown
  /** @default unchanged; a new rule is enabled */
  readonly enabled?: boolean
}

/** A rule, compiled. */
export interface Rule {
  readonly name: string
  readonly on: readonly string[]
  readonly condition: Condition
  readonly actions: readonly Action[]
  /** The definition as it is stored: `on` is a list, and `enabled` is absent. */
  readonly definition: RuleDefinition
  readonly enabled: boolean | null
}

const RULE_NAME = /^[A-Za-z0-9_][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)*$/

/**
 * Parses a rule.
 *
 * @throws INVALID_RULE when it is malformed; `details` has the path and the reason
 */
export function parseRule(source: unknown): Rule {
  const form = membersOf(source, '', ['name', 'description', 'on', 'when', 'then', 'enabled'])
  const { description, enabled = null, when, then } = form
  const name = ruleName(form['name'])
  const on = channelsOf(form['on'])
  if (description !== undefined && typeof description !== 'string')
    return refuseRule('description', `a text is needed, not ${shown(description)}`)
  if (enabled !== null && typeof enabled !== 'boolean')
    return refuseRule('enabled', `true or false, not ${shown(enabled)}`)
  const definition = {
    name,
    ...(description !== undefined && { description }),
    on,
    ...(when !== undefined && { when: when as PatternJson }),
    then,
  }
  if (lengthOf(definition) > LIMITS.ruleCharsMax)
    return refuseRule('', `a rule has at most ${LIMITS.ruleCharsMax} characters as JSON`)
  return { name, on, condition: compileCondition(when), actions: parseActions(then), definition, enabled }
}

function lengthOf(definition: object): number {
  try {
    return JSON.stringify(definition).length
  } catch (cause) {
    return refuseRule(
      '',
      `a rule must be data that JSON can hold: ${cause instanceof Error ? cause.message.split('\n')[0] : 'a member throws'}`,
    )
  }
}

/** The name of a rule. @throws INVALID_RULE when it cannot be the name of a rule */
export function ruleName(value: unknown): string {
  if (typeof value === 'string' && value.length <= LIMITS.ruleNameCharsMax && RULE_NAME.test(value)) return value
  return refuseRule(
    'name',
    `${shown(value)} cannot be the name of a rule: use words of letters, digits, "_" and "-", joined by dots, at most ${LIMITS.ruleNameCharsMax} characters`,
  )
}

function channelsOf(value: unknown): readonly string[] {
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (list.length === 0 || list.length > LIMITS.ruleChannelsMax)
    return refuseRule('on', `a rule has 1 to ${LIMITS.ruleChannelsMax} channels`)
  const names = list.map((each, index) => within(Array.isArray(value) ? `on[${index}]` : 'on', () => channelOf(each)))
  for (const [index, name] of names.entries()) {
    const including = names.findIndex(
      (other, at) =>
        at !== index && (other === name || (isWildcard(other) && !isWildcard(name) && compileWildcard(other)(name))),
    )
    if (including >= 0)
      refuseRule('on', `"${names[including]}" includes "${name}": the rule would act twice on one event`)
  }
  const wildcards = names.filter(isWildcard)
  if (wildcards.length > 1)
    refuseRule(
      'on',
      `at most one wildcard is allowed, so that no channel is included twice; these are ${wildcards.join(', ')}`,
    )
  return [...names].sort()
}

function channelOf(value: unknown): string {
  if (typeof value === 'string' && isWildcard(value)) compileWildcard(value)
  else if (typeof value === 'string' && value.startsWith('$rule'))
    refuseRule('on', 'rules cannot act on the channels of the rules themselves')
  else checkName(value, 'channel')
  return value as string
}
