/**
 * Why a rule has, or has not, acted on an event. The version of the rule that decides is the one in force at the
 * event's offset, which may be an older one than that of today.
 */
import { compileWildcard, isWildcard } from '../base/names.ts'
import type { Broker } from '../broker/broker.ts'
import type { Engine, StoredText } from '../broker/engine.ts'
import { engineOf } from '../broker/engine-of.ts'
import { maskFor } from '../broker/seen-events.ts'
import { explainRule } from '../rules/dry-run.ts'
import { workerName } from '../rules/firing.ts'
import { RuleBook } from '../rules/live/rule-book.ts'
import { unknownRule } from '../rules/live/rule-events.ts'
import { routerName } from '../rules/live/rule-router.ts'
import { inForce, type RuleTable, type RuleVersion, startOf } from '../rules/live/rule-table.ts'
import type { Rule } from '../rules/rule.ts'
import { type Reason, reason } from './reason.ts'
import { explainSeen } from './seen-explanation.ts'
import { eventAt } from './stored-event.ts'
import { type Asker, OWNER, whyDelivery } from './why-delivery.ts'

export interface RuleWhy {
  readonly rule: string
  readonly channel: string
  readonly offset: number
  /** The version that was in force at the event; null where none was. */
  readonly revision: number | null
  /** Whether its condition holds; null where it was not asked. */
  readonly matches: boolean | null
  readonly reasons: readonly Reason[]
}

/** What the caller of a question about a rule may know. */
export interface RuleAsker extends Asker {
  /** Whether another rule on these channels may be named. */
  readonly mayName: (channels: readonly string[]) => boolean
}

type Answer = Pick<RuleWhy, 'revision' | 'matches' | 'reasons'>

/**
 * Why a rule acted, or did not act, on a stored event.
 * @throws UNKNOWN_RULE when there was no such rule · UNKNOWN_CHANNEL when there is no such channel
 */
export async function whyRule(
  broker: Broker,
  rule: string,
  channel: string,
  offset: number,
  asker: RuleAsker = { ...OWNER, mayName: () => true },
): Promise<RuleWhy> {
  const book = new RuleBook(broker)
  await book.load()
  const { table } = book
  if (!table.entries.has(rule)) throw unknownRule(rule)
  const engine = engineOf(broker)
  const found = await eventAt(engine, channel, offset)
  const of = { rule, channel, offset }
  if (found.event === null) return { ...of, revision: null, matches: null, reasons: [found.reason] }
  const mask = await maskFor(engine, channel, asker.maySee)
  const { event } = found
  const seen = mask?.event(event.type, event.text).text ?? event.text
  return { ...of, ...(await judged(engine, table, { rule, channel, event, seen }, asker)) }
}

interface Judged {
  readonly rule: string
  readonly channel: string
  readonly event: StoredText
  /** Its text as the caller sees it. */
  readonly seen: string
}

async function judged(engine: Engine, table: RuleTable, of: Judged, asker: RuleAsker): Promise<Answer> {
  const version = versionFor(table, of)
  if ('because' in version) return { revision: null, matches: null, reasons: [version] }
  const { revision, rule, change } = version
  const { event, channel } = of
  const none = { revision, matches: null }
  if (rule === null)
    return { ...none, reasons: [reason('broken', `the rule cannot be read: ${version.problem ?? 'it was removed'}`)] }
  if (!takes(rule, channel)) {
    const on = rule.on.map((name) => `"${name}"`).join(', ')
    const text = `rule "${of.rule}" is not on "${channel}": it is on ${on}`
    return { ...none, reasons: [reason('not-subscribed', text, { on: rule.on })] }
  }
  const {
    matches,
    reason: words,
    conditions = [],
  } = explainSeen((text) => explainRule(rule, text), {
    text: event.text,
    seen: of.seen,
  })
  if (!matches) {
    const failed = conditions.filter(({ holds }) => !holds)
    return { revision, matches, reasons: [reason('condition', `the condition does not hold: ${words}`, { failed })] }
  }
  if (!change.enabled) return { revision, matches, reasons: [disabledReason(version)] }
  const dropping = droppedBy(table, of)
  if (dropping !== null) {
    const name = asker.mayName(dropping.rule?.on ?? []) ? `rule "${dropping.name}"` : 'another rule'
    return { revision, matches, reasons: [reason('dropped', `${name} drops the event, so no rule acts on it`)] }
  }
  return { revision, matches, reasons: await actedReasons(engine, rule, of, asker) }
}

/** The version in force at the event, or why there is none. */
function versionFor(table: RuleTable, { rule, channel, event }: Judged): RuleVersion | Reason {
  const versions = table.entries.get(rule)?.versions ?? []
  const version = versions.find((each) => inForce(each, channel, event.offset))
  if (version?.change.rule === null)
    return reason('no-rule', `the rule was removed before the event: by ${version.change.author}, ${version.time}`)
  if (version !== undefined) return version
  const [first] = versions
  if (first?.effective === null || first === undefined)
    return reason('no-rule', 'the rule was changed a moment ago, and is not in force yet: ask again')
  const start = startOf(first.effective, channel)
  const text = `the rule applies to events of "${channel}" from offset ${start} on, and this one is older. A dry run shows what the rule would have done`
  return reason('before-rule', text, { from: start })
}

function takes({ on }: Rule, channel: string): boolean {
  return on.some((name) => name === channel || (isWildcard(name) && compileWildcard(name)(channel)))
}

function disabledReason({ change, time }: RuleVersion): Reason {
  const why = change.reason === undefined ? '' : `: ${change.reason}`
  const { author } = change
  return reason('disabled', `the rule was disabled at the event, by ${author}, ${time}${why}`, { author, time })
}

/** A rule with `drop` that was in force at the event and matches it. */
function droppedBy(table: RuleTable, { channel, event }: Judged): RuleVersion | null {
  for (const { versions } of table.entries.values()) {
    const version = versions.find((each) => inForce(each, channel, event.offset))
    const rule = version?.rule ?? null
    if (version === undefined || rule === null || !version.change.enabled) continue
    const drops = rule.actions[0]?.kind === 'drop' && takes(rule, channel)
    if (drops && explainRule(rule, event.text).matches) return version
  }
  return null
}

/** The rule matches: what the router, and the workers of its actions, have done with the event. */
async function actedReasons(engine: Engine, rule: Rule, { channel, event }: Judged, asker: Asker): Promise<Reason[]> {
  const on = rule.on.find((name) => name === channel || (isWildcard(name) && compileWildcard(name)(channel))) as string
  const router = routerName(on)
  const describe = (consumer: string): Promise<unknown> => engine.consumers.describe(consumer)
  if ((await describe(router)) === null)
    return [reason('router', 'the rule matches, and no process runs rules: start one (millrace serve, or startRules)')]
  const { standing, reasons } = await whyDelivery(engine, router, channel, { offset: event.offset }, asker)
  if (standing !== 'settled')
    return [reason('router', 'the rule matches, and has not acted on the event yet', { router }), ...reasons]
  const acted = reason('acted', 'the rule matched, and its actions were published or queued')
  return [acted, ...(await queuedReasons(engine, rule))]
}

/** What waits in the queues of the rule's actions. Which of it came from this event is not known. */
async function queuedReasons(engine: Engine, { name, actions }: Rule): Promise<Reason[]> {
  const reasons: Reason[] = []
  for (const { id, kind } of actions) {
    const consumer = workerName(name, id)
    const description = await engine.consumers.describe(consumer)
    if (description === null) continue
    const lag = description.channels.reduce((sum, position) => sum + position.lag, 0)
    const { deadLetters, retrying } = description
    const failed = kind === 'emit' || kind === 'forward' ? ', whose publishing failed' : ''
    const text = `action ${id}${failed}: ${lag} event(s) wait in its queue (a rate lets them wait there), ${retrying} for their next attempt; ${deadLetters} dead letter(s). millrace why consumer ${consumer} says more`
    reasons.push(reason('action-queue', text, { action: id, consumer, lag, retrying, deadLetters }))
  }
  return reasons
}
