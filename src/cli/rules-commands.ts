/** `millrace rules`: list, test and change rules while the system runs. */
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'
import { MillraceError } from '../base/errors.ts'
import type { Broker } from '../broker/broker.ts'
import { engineOf } from '../broker/engine-of.ts'
import { position } from '../broker/position.ts'
import { parseRuleFile } from '../rules/folder/rule-file.ts'
import type { ChangeReceipt } from '../rules/live/rule-book.ts'
import type { RuleDefinition } from '../rules/rule.ts'
import { type RuleDescription, rulesOf } from '../rules/rules.ts'
import { userName } from './actor.ts'
import { colour, complete, print, printJson, table } from './output.ts'
import { changing, countOf, jsonOf, looking, nameOf, positionOf, type TargetOptions, writing } from './target.ts'

export interface RulesOptions extends TargetOptions {
  readonly author?: string
  readonly reason?: string
}

export interface RulesTestOptions extends TargetOptions {
  readonly on?: string
  readonly from?: string
  readonly to?: string
  readonly show: string
}

export interface RulesExplainOptions extends TargetOptions {
  readonly on?: string
  readonly offset?: string
  readonly event?: string
}

/** The author of a change, by default the user's name. */
function author({ author }: RulesOptions): string {
  return author ?? userName()
}

function textOf(path: string): string {
  try {
    return readFileSync(path === '-' ? 0 : path, 'utf8')
  } catch (error) {
    throw new MillraceError('INVALID_OPTION', `${path} cannot be read: ${(error as Error).message}`, { path })
  }
}

function rulesIn(path: string): readonly RuleDefinition[] {
  return parseRuleFile(textOf(path), path === '-' ? 'standard input' : basename(path))
}

/** A rule from a file if the text looks like a path, else the name of a rule. */
function ruleOf(text: string): RuleDefinition | string {
  if (text !== '-' && !/\.(?:ya?ml|json)$|\//i.test(text)) return text
  const [rule, ...more] = rulesIn(text)
  if (rule !== undefined && more.length === 0) return rule
  throw new MillraceError('INVALID_OPTION', `${text} has ${more.length + 1} rules: give one with a single rule`, {
    path: text,
  })
}

export async function rulesListCommand(options: RulesOptions): Promise<void> {
  const { list, refused } = await looking(options, async (broker) => {
    const rules = rulesOf(broker)
    return { list: await rules.list(), refused: await rules.refused() }
  })
  if (options.json === true) printJson({ rules: list, refused })
  else print(table(['rule', 'on', 'is', 'revision', 'author', 'changed', 'file'], list.map(rowOf)))
  if (options.json !== true)
    for (const { folder, path, reason } of refused)
      process.stderr.write(`${colour('yellow', '!')} ${folder}/${path} was refused: ${reason}\n`)
  complete(`${list.length} rule(s) in ${nameOf(options)}`, options)
}

function rowOf({
  name,
  definition,
  enabled,
  revision,
  author,
  changedAt,
  file,
  problem,
}: RuleDescription): (string | number)[] {
  return [
    name,
    [definition.on].flat().join(' '),
    problem === null ? (enabled ? 'on' : 'off') : 'broken',
    revision,
    author,
    changedAt,
    file ?? '',
  ]
}

export async function rulesShowCommand(name: string, options: RulesOptions): Promise<void> {
  const { rule, history } = await looking(options, async (broker) => {
    const rules = rulesOf(broker)
    const history = await rules.history(name)
    return { rule: history.at(-1)?.definition === null ? null : await rules.get(name), history }
  })
  if (options.json === true) printJson({ rule, history })
  else {
    print(rule === null ? colour('yellow', `${name} was removed`) : JSON.stringify(rule.definition, null, 2))
    const rows = history.map(({ time, type, author, reason, file, enabled }) => [
      time,
      type,
      enabled ? 'on' : 'off',
      author,
      reason ?? '',
      file ?? '',
    ])
    print(`\n${table(['time', 'change', 'is', 'author', 'reason', 'file'], rows)}`)
  }
  complete(`${history.length} change(s) of ${name}`, options)
}

export async function rulesAddCommand(path: string, options: RulesOptions): Promise<void> {
  const definitions = rulesIn(path)
  const receipts = await writing(options, (broker) =>
    rulesOf(broker, { author: author(options) }).putAll(definitions, reasonOf(options)),
  )
  told(receipts, options)
}

function reasonOf({ reason }: RulesOptions): { readonly reason?: string } {
  return reason === undefined ? {} : { reason }
}

function told(receipts: readonly ChangeReceipt[], options: RulesOptions): void {
  if (options.json === true) printJson(receipts)
  else for (const receipt of receipts) print(receiptText(receipt))
  complete(`${receipts.filter(({ changed }) => changed).length} rule(s) changed`, options)
}

function receiptText({ name, revision, changed, from }: ChangeReceipt): string {
  if (!changed) return `${name} has not changed`
  const starts = Object.entries(from).map(([channel, offset]) => `${channel}/${offset}`)
  return `${name} revision ${revision}${starts.length === 0 ? '' : `, from ${starts.join(', ')} on`}`
}

type Change = 'enable' | 'disable' | 'remove'

export async function rulesChangeCommand(change: Change, name: string, options: RulesOptions): Promise<void> {
  const receipt = await changing(options, (broker) =>
    rulesOf(broker, { author: author(options) })[change](name, reasonOf(options)),
  )
  told([receipt], options)
}

export async function rulesTestCommand(text: string, options: RulesTestOptions): Promise<void> {
  const { on, from, to, show } = options
  const rule = ruleOf(text)
  const result = await looking(options, (broker) => {
    const range = {
      ...(on !== undefined && { on: on.split(',') }),
      ...(from !== undefined && { from: positionOf(from) }),
      ...(to !== undefined && { to: positionOf(to) }),
    }
    return rulesOf(broker).test(rule, { ...range, show: countOf('show', show) })
  })
  if (options.json === true) printJson(result)
  else {
    for (const { channel, offset, event, would } of result.matches) {
      print(
        `${colour('dim', `${channel}/${offset}`)} ${colour('cyan', event.type)} ${JSON.stringify(event.data) ?? ''}`.slice(
          0,
          400,
        ),
      )
      for (const { action, what, failure } of would)
        print(
          failure === undefined
            ? `  would ${action} ${what === undefined ? '' : JSON.stringify(what)}`
            : `  ${colour('red', `would fail to ${action}: ${failure}`)}`,
        )
    }
    const { matched, events, firstMiss } = result
    if (firstMiss !== null)
      print(`${colour('dim', `${firstMiss.channel}/${firstMiss.offset}`)} does not match: ${firstMiss.reason}`)
    if (matched > result.matches.length) print(`… and ${matched - result.matches.length} more of ${events}`)
  }
  const { matched, events, failed } = result
  complete(
    `${matched} of ${events} event(s) would have matched${failed === 0 ? '' : `, ${failed} of them with an action that would fail`}; nothing was done`,
    options,
  )
}

export async function rulesExplainCommand(text: string, options: RulesExplainOptions): Promise<void> {
  const rule = ruleOf(text)
  const explanation = await looking(options, async (broker) =>
    rulesOf(broker).explain(rule, await eventOf(broker, options)),
  )
  if (options.json === true) printJson(explanation)
  else {
    print(
      `${explanation.matches ? colour('green', 'matches') : colour('red', 'does not match')}: ${explanation.reason}`,
    )
    for (const { path, expected, found, holds } of explanation.conditions ?? []) {
      print(
        `  ${holds ? colour('green', '✓') : colour('red', '✗')} ${path}: ${expected}; found ${found.length === 0 ? 'nothing' : JSON.stringify(found)}`,
      )
    }
  }
  complete('nothing was done', options)
}

/** The event's text, from the channel or from the file. */
async function eventOf(broker: Broker, { on, offset, event }: RulesExplainOptions): Promise<string> {
  if (event !== undefined) {
    const text = textOf(event)
    jsonOf(text, event)
    return text
  }
  if (on === undefined || offset === undefined)
    throw new MillraceError('INVALID_OPTION', 'name the event: --on CHANNEL --offset OFFSET, or --event FILE', {
      option: 'offset',
    })
  const engine = engineOf(broker)
  const from = position(positionOf(offset), engine.clock.now())
  for await (const [found] of engine.read(on, {
    from,
    to: null,
    follow: false,
    signal: new AbortController().signal,
  })) {
    if (found !== undefined) return found.text
  }
  throw new MillraceError('OFFSET_OUT_OF_RANGE', `channel "${on}" has no event at ${offset}`, { channel: on, offset })
}
