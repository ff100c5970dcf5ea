/** What a rule reads and writes, from its definition alone. */
import { isMillraceError } from '../base/errors.ts'
import { compileWildcard, isWildcard } from '../base/names.ts'
import { compilePattern } from '../pattern/pattern.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { parseRule } from '../rules/rule.ts'
import type { RuleDescription } from '../rules/rules.ts'

/** A channel that a rule writes to; `type` is null if the events keep their type, or a template makes it. */
export interface RuleWrite {
  readonly channel: string
  readonly type: string | null
  /** The rule passes on the events that it reads. */
  readonly forwards: boolean
}

export interface RuleFacts {
  readonly name: string
  readonly description: string | null
  readonly enabled: boolean
  /** Names and wildcards. */
  readonly on: readonly string[]
  readonly writes: readonly RuleWrite[]
  /** Whether the rule may act on an event of this type, as far as its condition says. */
  mayTake(type: string): boolean
}

/** A rule that this version of Millrace cannot read has no writes, and may take every type. */
export function ruleFacts({ name, enabled, definition }: RuleDescription): RuleFacts {
  const facts = {
    name,
    description: definition.description ?? null,
    enabled,
    on: [definition.on].flat(),
    writes: [],
    mayTake: () => true,
  }
  try {
    const { actions, condition } = parseRule(definition)
    const writes = actions.flatMap((action): RuleWrite[] => {
      if (action.kind === 'forward') return [{ channel: action.channel, type: null, forwards: true }]
      return action.kind === 'emit'
        ? [{ channel: action.channel, type: action.type.fixed ?? null, forwards: false }]
        : []
    })
    return { ...facts, writes, mayTake: typeTest(condition.indexed) }
  } catch (error) {
    if (isMillraceError(error)) return facts
    throw error
  }
}

/** A test of whether a channel is one of these names, or matches one of these wildcards. */
export function channelTest(on: readonly string[]): (channel: string) => boolean {
  const tests = on.map((each) => (isWildcard(each) ? compileWildcard(each) : (channel: string) => channel === each))
  return (channel) => tests.some((takes) => takes(channel))
}

export function takesChannel(on: readonly string[], channel: string): boolean {
  return channelTest(on)(channel)
}

/** A test of what a pattern says about the type alone. */
function typeTest(pattern: PatternJson | null): (type: string) => boolean {
  const ofType = pattern === null ? null : typePattern(pattern)
  if (ofType === null) return () => true
  const compiled = compilePattern(ofType)
  return (type) => compiled.matches(JSON.stringify({ type }))
}

/** The parts of a pattern that are about the type; null if there are none. */
function typePattern(pattern: PatternJson): PatternJson | null {
  const { type, $or } = pattern as { readonly type?: unknown; readonly $or?: unknown }
  const alternatives = Array.isArray($or) ? $or.map((each) => typePattern(each as PatternJson)) : []
  const chosen = alternatives.some((each) => each !== null)
  // An alternative that says nothing of the type takes every type.
  if ((type === undefined && !chosen) || (chosen && alternatives.includes(null))) return null
  return { ...(type !== undefined && { type }), ...(chosen && { $or: alternatives }) } as PatternJson
}
