/** Tests a rule on stored events: which events match and why, and what its actions would do. No action is performed. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { compileWildcard, isWildcard } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import type { Broker } from '../broker/broker.ts'
import type { Engine, StoredText } from '../broker/engine.ts'
import { engineOf } from '../broker/engine-of.ts'
import { type From, position } from '../broker/position.ts'
import { type MaySee, readSeen, seesAll } from '../broker/seen-events.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { decodeEvent, encodeEvent } from '../event/encode.ts'
import { explainPattern } from '../pattern/explain.ts'
import { explainExpression } from '../pattern/expression/explain-expression.ts'
import { compilePattern } from '../pattern/pattern.ts'
import type { Action } from './action/action.ts'
import { httpRequestOf } from './action/http-action.ts'
import { publishedBy, scopeOf } from './action/publish-action.ts'
import type { ActedOn } from './firing.ts'
import type { Rule } from './rule.ts'
import { MISSING } from './template/template-value.ts'

export interface TestOptions {
  /** The channels whose events are tested. @default the channels of the rule */
  readonly on?: string | readonly string[]
  /** @default 'beginning' */
  readonly from?: From
  /** @default the current end */
  readonly to?: From
  /** How many matches the result contains. @default 10 */
  readonly show?: number
}

/** What an action would do. */
export interface WouldDo {
  /** The action's id within the rule, such as `emit` or `http-2`. */
  readonly action: string
  /** The event, request or arguments; absent if it could not be made. */
  readonly what?: unknown
  /** Why the action would fail before it sends anything. */
  readonly failure?: string
}

export interface TestMatch {
  readonly channel: string
  readonly offset: number
  readonly event: StoredEvent
  readonly would: readonly WouldDo[]
}

export interface TestResult {
  /** The number of tested events. */
  readonly events: number
  readonly matched: number
  /** The number of matched events for which an action would fail. */
  readonly failed: number
  /** The first events that matched. */
  readonly matches: readonly TestMatch[]
  /** The first event that did not match, and why. */
  readonly firstMiss: { readonly channel: string; readonly offset: number; readonly reason: string } | null
}

export interface Explanation {
  readonly matches: boolean
  /** Why it matched, or the first condition that failed. */
  readonly reason: string
  /** Every condition of a pattern, with the values that the event has. */
  readonly conditions?: readonly {
    readonly path: string
    readonly expected: string
    readonly found: readonly unknown[]
    readonly holds: boolean
  }[]
}

/**
 * Why an event matches a rule's condition, or the first condition that fails. A text is matched as it is written.
 * @throws INVALID_EVENT when the text is not JSON, or the event cannot be read
 */
export function explainRule(rule: Rule, event: object | string): Explanation {
  const { when } = rule.condition
  if (when === null) return { matches: true, reason: 'the rule has no condition: every event of its channels matches' }
  if (typeof when !== 'string') return explainPattern(when, event)
  return explainExpression(when, typeof event === 'string' ? parsed(event) : event)
}

function parsed(text: string): object {
  try {
    return JSON.parse(text) as object
  } catch (cause) {
    throw new MillraceError('INVALID_EVENT', `the event is not JSON: ${(cause as Error).message}`, {}, { cause })
  }
}

/** `maySee`: elsewhere the rule is tested on events whose sensitive fields are masked. */
export async function testRule(
  broker: Broker,
  rule: Rule,
  options: TestOptions,
  maySee: MaySee = seesAll,
): Promise<TestResult> {
  const matches: TestMatch[] = []
  const count = { events: 0, matched: 0, failed: 0 }
  let firstMiss: TestResult['firstMiss'] = null
  const test = matcherOf(rule)
  const { show = 10 } = options
  const engine = engineOf(broker)
  for (const channel of await channelsOf(engine, options.on ?? rule.on)) {
    for await (const { text, offset, key } of textsOf(engine, channel, options, maySee)) {
      count.events++
      if (!test(text)) {
        firstMiss ??= { channel, offset, reason: explainRule(rule, text).reason }
        continue
      }
      count.matched++
      const event = decodeEvent(text, offset)
      const would = wouldDo(rule, { event, text, channel, offset, key })
      if (would.some(({ failure }) => failure !== undefined)) count.failed++
      if (matches.length < show) matches.push({ channel, offset, event, would })
    }
  }
  return { ...count, matches, firstMiss }
}

/** The texts of stored events. Rules match the text, which can differ from the parsed event. */
async function* textsOf(
  engine: Engine,
  channel: string,
  { from = 'beginning', to }: TestOptions,
  maySee: MaySee,
): AsyncGenerator<StoredText> {
  const nowMs = engine.clock.now()
  const range = { from: position(from, nowMs), to: to === undefined ? null : position(to, nowMs) }
  const options = { ...range, follow: false, signal: new AbortController().signal }
  for await (const batch of readSeen(engine, channel, options, maySee)) yield* batch
}

function matcherOf({ condition: { when, expression } }: Rule): (text: string) => boolean {
  if (expression !== null) return (text) => expression.matches(JSON.parse(text) as object)
  if (when === null || typeof when === 'string') return () => true
  const pattern = compilePattern(when)
  return (text) => pattern.matches(text)
}

async function channelsOf(engine: Engine, on: string | readonly string[]): Promise<readonly string[]> {
  const names = typeof on === 'string' ? [on] : on
  if (!Array.isArray(names) || names.some((name) => typeof name !== 'string')) {
    throw new MillraceError(
      'INVALID_OPTION',
      `on must be the name of a channel, or an array of names; it is ${shown(on)}`,
      { option: 'on' },
    )
  }
  if (!names.some(isWildcard)) return names
  const channels = await engine.channels()
  const tests = names.map((name) => (isWildcard(name) ? compileWildcard(name) : (channel: string) => channel === name))
  return channels
    .filter(({ name, kind }) => kind === 'stream' && !name.startsWith('$rule') && tests.some((test) => test(name)))
    .map(({ name }) => name)
}

function wouldDo(rule: Rule, on: ActedOn): WouldDo[] {
  return rule.actions.map((action) => {
    try {
      const what = previewOf(action, on, rule.name)
      return { action: action.id, ...(what !== undefined && { what }) }
    } catch (error) {
      return { action: action.id, failure: error instanceof Error ? error.message : String(error) }
    }
  })
}

function previewOf(action: Action, on: ActedOn, rule: string): unknown {
  const scope = scopeOf(on, rule)
  switch (action.kind) {
    case 'drop':
      return undefined
    case 'http':
      return httpRequestOf(action, on, scope)
    case 'call': {
      const args = action.args?.render(scope)
      return { function: action.function, ...(args !== undefined && args !== MISSING && { with: args }) }
    }
    default: {
      const published = publishedBy(action, on, scope)
      // An event that no channel would accept is found here.
      encodeEvent(published, null, '/', LIMITS.eventBytesMax)
      return {
        channel: action.channel,
        event: action.kind === 'emit' ? published : { id: on.event.id, type: on.event.type },
      }
    }
  }
}
