/**
 * `rulesOf(broker)`: lists and changes the rules of a broker. It runs no rules; `startRules` does.
 */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import { knownOptions } from '../base/units.ts'
import type { Broker } from '../broker/broker.ts'
import { checkBroker } from '../broker/engine-of.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { type Explanation, explainRule, type TestOptions, type TestResult, testRule } from './dry-run.ts'
import { type ChangeReceipt, RuleBook } from './live/rule-book.ts'
import { type RuleRefused, unknownRule } from './live/rule-events.ts'
import type { RuleVersion } from './live/rule-table.ts'
import { parseRule, type Rule, type RuleDefinition } from './rule.ts'

/** A rule in its current version. */
export interface RuleDescription {
  readonly name: string
  readonly enabled: boolean
  /** The number of its changes, from 1. */
  readonly revision: number
  readonly definition: RuleDefinition
  /** The author and the time of the last change. */
  readonly author: string
  readonly changedAt: string
  /** The file that the last change came from. */
  readonly file: string | null
  /** Why it cannot run: another version of Millrace wrote it. */
  readonly problem: string | null
}

/** One change of a rule. */
export interface RuleHistoryEntry {
  /** Its offset in `$rules`. */
  readonly offset: number
  readonly time: string
  readonly type: string
  readonly author: string
  readonly reason: string | null
  readonly file: string | null
  readonly enabled: boolean
  /** `null`: the rule was removed. */
  readonly definition: RuleDefinition | null
}

/** A file of a watched folder that was refused. */
export interface RefusedFile {
  readonly folder: string
  readonly path: string
  readonly reason: string
  /** Rules from an earlier version of the file, which stay in force. */
  readonly kept: readonly string[]
}

export interface ChangeOptions {
  /** @default the author of `rulesOf` or `startRules` */
  readonly author?: string
  /** Why, for the history. */
  readonly reason?: string
}

/**
 * Lists and changes the rules of a broker. A change is durable when its call resolves, and in force in all processes
 * within a second.
 */
export interface Rules {
  /**
   * Add a rule, or change the rule of that name. It applies to events from the offsets in the receipt; earlier events
   * are handled by the rules that were in force before.
   *
   * @throws INVALID_RULE when the rule is malformed, or is on a queue · UNKNOWN_CHANNEL when it names a channel that is
   * not declared · INVALID_OPTION when an option is wrong
   */
  put(rule: RuleDefinition, options?: ChangeOptions): Promise<ChangeReceipt>
  /**
   * Add or change several rules. They are written 1,000 at a time, each time all or none.
   * @throws as `put`
   */
  putAll(rules: readonly RuleDefinition[], options?: ChangeOptions): Promise<ChangeReceipt[]>
  /**
   * Enable a rule; events that wait in its queues are handled.
   * @throws UNKNOWN_RULE when there is no rule of the name · INVALID_OPTION when an argument is wrong
   */
  enable(name: string, options?: ChangeOptions): Promise<ChangeReceipt>
  /** Disable a rule: it matches no more events, and events in its queues wait. @throws as `enable` */
  disable(name: string, options?: ChangeOptions): Promise<ChangeReceipt>
  /** Remove a rule, and the events in its queues. Its history stays. @throws as `enable` */
  remove(name: string, options?: ChangeOptions): Promise<ChangeReceipt>
  /** All rules, by name. */
  list(): Promise<RuleDescription[]>
  /** One rule, in its current version. @throws as `enable` */
  get(name: string): Promise<RuleDescription>
  /** Every change of a rule, oldest first. @throws UNKNOWN_RULE when the rule never existed */
  history(name: string): Promise<RuleHistoryEntry[]>
  /** Files of watched folders that were refused and are not corrected yet. */
  refused(): Promise<RefusedFile[]>
  /**
   * Test a rule, given as data or by name, on stored events. No action is performed.
   *
   * @throws INVALID_RULE when the rule is malformed · UNKNOWN_RULE when there is no rule of the name · UNKNOWN_CHANNEL
   * when a channel is not declared · INVALID_NAME when a wildcard is malformed · INVALID_OPTION when an option is wrong
   * · OFFSET_OUT_OF_RANGE when `from` or `to` is an offset beyond the end
   */
  test(rule: RuleDefinition | string, options?: TestOptions): Promise<TestResult>
  /**
   * Why an event matches a rule, or the first condition that fails.
   * @throws INVALID_RULE when the rule is malformed · UNKNOWN_RULE when there is no rule of the name · INVALID_EVENT
   * when the event is not an object, or is text that is not JSON
   */
  explain(rule: RuleDefinition | string, event: StoredEvent | object | string): Promise<Explanation>
}

export interface RulesOfOptions {
  /** The author of changes, unless a call names one. @default 'application' */
  readonly author?: string
}

/** `Rules` over a `RuleBook`. */
export class BookRules implements Rules {
  readonly #book: RuleBook
  readonly #author: string

  constructor(book: RuleBook, author: string) {
    this.#book = book
    this.#author = author
  }

  #note(options: ChangeOptions): { readonly author: string; readonly reason?: string } {
    knownOptions(options, ['author', 'reason'], 'a change of rules')
    const { author = this.#author, reason } = options
    for (const [option, value] of Object.entries({ author, reason: reason ?? '' })) {
      if (typeof value !== 'string')
        throw new MillraceError(
          'INVALID_OPTION',
          `${option} of a change of rules must be a text; it is ${shown(value)}`,
          { option },
        )
    }
    return { author, ...(reason !== undefined && { reason }) }
  }

  async put(rule: RuleDefinition, options: ChangeOptions = {}): Promise<ChangeReceipt> {
    const [receipt] = await this.putAll([rule], options)
    return receipt as ChangeReceipt
  }

  async putAll(rules: readonly RuleDefinition[], options: ChangeOptions = {}): Promise<ChangeReceipt[]> {
    if (!Array.isArray(rules))
      throw new MillraceError('INVALID_RULE', `putAll takes an array of rules; this is ${shown(rules)}`, { path: '' })
    return this.#book.put(rules, this.#note(options))
  }

  async enable(name: string, options: ChangeOptions = {}): Promise<ChangeReceipt> {
    return this.#book.setEnabled(named(name), true, this.#note(options))
  }

  async disable(name: string, options: ChangeOptions = {}): Promise<ChangeReceipt> {
    return this.#book.setEnabled(named(name), false, this.#note(options))
  }

  async remove(name: string, options: ChangeOptions = {}): Promise<ChangeReceipt> {
    return this.#book.remove(named(name), this.#note(options))
  }

  async list(): Promise<RuleDescription[]> {
    await this.#book.load()
    return [...this.#book.table.all()].map(describe)
  }

  async get(name: string): Promise<RuleDescription> {
    await this.#book.load()
    const version = this.#book.table.current(named(name))
    if (version === undefined) throw unknownRule(name)
    return describe(version)
  }

  async history(name: string): Promise<RuleHistoryEntry[]> {
    await this.#book.load()
    if (!this.#book.table.entries.has(named(name))) throw unknownRule(name)
    const changes = await this.#book.history(name)
    return changes.map(({ offset, time, type, change: { author, reason = null, file, enabled, rule } }) => {
      return { offset, time, type, author, reason, file: fileText(file), enabled, definition: rule }
    })
  }

  async refused(): Promise<RefusedFile[]> {
    await this.#book.load()
    return [...this.#book.table.refused.values()].map(({ folder, path, reason, kept }: RuleRefused) => ({
      folder,
      path,
      reason: reason ?? '',
      kept,
    }))
  }

  async test(rule: RuleDefinition | string, options: TestOptions = {}): Promise<TestResult> {
    knownOptions(options, ['on', 'from', 'to', 'show'], 'test')
    return testRule(this.#book.broker, await this.#ruleOf(rule), options)
  }

  async explain(rule: RuleDefinition | string, event: StoredEvent | object | string): Promise<Explanation> {
    if (typeof event === 'string') return explainRule(await this.#ruleOf(rule), event)
    if (typeof event !== 'object' || event === null) {
      throw new MillraceError(
        'INVALID_EVENT',
        `explain takes an event, as an object or as JSON text; this is ${shown(event)}`,
      )
    }
    const { offset, ...attributes } = event as StoredEvent
    // The offset of an event that was read is not one of its attributes.
    return explainRule(await this.#ruleOf(rule), typeof offset === 'number' ? attributes : event)
  }

  async #ruleOf(rule: RuleDefinition | string): Promise<Rule> {
    return parseRule(typeof rule === 'string' ? (await this.get(rule)).definition : rule)
  }
}

/** Checks that the name is a text; whether the rule exists is checked later. @throws INVALID_OPTION when it is not */
function named(name: string): string {
  if (typeof name === 'string') return name
  throw new MillraceError('INVALID_OPTION', `a rule is named by text; this is ${shown(name)}`, { option: 'name' })
}

function fileText(file: { readonly folder: string; readonly path: string } | undefined): string | null {
  return file === undefined ? null : `${file.folder}/${file.path}`
}

function describe({ name, revision, time, change, problem }: RuleVersion): RuleDescription {
  const { enabled, author, file } = change
  return {
    name,
    enabled,
    revision,
    definition: change.rule as RuleDefinition,
    author,
    changedAt: time,
    file: fileText(file),
    problem,
  }
}

/**
 * Lists and changes the rules of a broker, from any process. Rules run where `startRules` runs.
 *
 * @throws INVALID_OPTION when the argument is not a broker, or an option is unknown
 * @example
 * ```ts
 * import { connect, stream } from 'millrace'
 * import { rulesOf } from 'millrace/rules'
 *
 * const broker = await connect('memory:')
 * await broker.declare(stream('carts'))
 * const rules = rulesOf(broker, { author: 'ann' })
 *
 * const large = {
 *   name: 'large-orders',
 *   on: 'carts',
 *   when: { data: { quantity: [{ numeric: ['>', 100] }] } },
 *   then: 'drop',
 * } as const
 * const { from } = await rules.put(large)
 * from // { carts: 0 }
 *
 * const { reason } = await rules.explain('large-orders', { type: 'cart.item.added', data: { quantity: 2 } })
 * reason // 'data.quantity must be > 100; it is 2'
 * await broker.close()
 * ```
 * @see docs/guide/rules.md
 */
export function rulesOf(broker: Broker, options: RulesOfOptions = {}): Rules {
  checkBroker(broker, 'rulesOf')
  knownOptions(options, ['author'], 'rulesOf')
  return new BookRules(new RuleBook(broker), options.author ?? 'application')
}
