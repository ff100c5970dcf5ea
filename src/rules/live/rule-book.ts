/**
 * The rules of a broker, read from and changed through its channel `$rules`. This is the same from every process and on
 * every engine.
 *
 * Invariant: after `refresh` the table holds all events that were in `$rules` when `refresh` was called.
 */

import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { compileWildcard, isWildcard } from '../../base/names.ts'
import { boundsIn } from '../../broker/bounds.ts'
import type { Broker } from '../../broker/broker.ts'
import { engineOf } from '../../broker/engine-of.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { queue, stream } from '../../channel/channel.ts'
import { parseRule, type Rule, type RuleDefinition } from '../rule.ts'
import { refuseRule } from '../rule-error.ts'
import {
  type ChangeNote,
  type ChangeType,
  EFFECTIVE,
  isChange,
  type RuleChange,
  rulesChannel,
  unknownRule,
} from './rule-events.ts'
import { RuleTable, type RuleVersion, sameDefinition, type TableListener } from './rule-table.ts'

/** The result of a change. */
export interface ChangeReceipt {
  readonly name: string
  readonly revision: number
  /** Whether anything changed. */
  readonly changed: boolean
  /** The first offset of each channel to which it applies. */
  readonly from: Readonly<Record<string, number>>
}

/** A change to be published. */
interface PlannedChange {
  readonly type: ChangeType
  readonly change: RuleChange
}

/** A process that waits for the start offsets of a change publishes them itself after this time. */
const EFFECTIVE_WAIT_MS = 1000

export class RuleBook {
  readonly broker: Broker
  #table: RuleTable
  #reading: Promise<void> | null = null
  #nextReading: Promise<void> | null = null
  #reloading: Promise<void> | null = null
  readonly #waiting = new Set<() => void>()

  constructor(broker: Broker, listener: TableListener | null = null) {
    this.broker = broker
    this.#table = new RuleTable(listener)
  }

  get table(): RuleTable {
    return this.#table
  }

  /** Creates `$rules` if it does not exist. */
  async open(): Promise<void> {
    await this.broker.declare(rulesChannel)
  }

  /** Applies all events that are in `$rules` now. Calls during a read share the next read. */
  refresh(): Promise<void> {
    if (this.#nextReading !== null) return this.#nextReading
    if (this.#reading === null) {
      this.#reading = this.#read().finally(() => {
        this.#reading = null
      })
      return this.#reading
    }
    const next = this.#reading.then(
      () => this.#startNext(),
      () => this.#startNext(),
    )
    this.#nextReading = next
    return next
  }

  #startNext(): Promise<void> {
    this.#nextReading = null
    return this.refresh()
  }

  async #read(): Promise<void> {
    const table = this.#table
    for await (const event of this.broker.read(rulesChannel.name, { from: { offset: table.next } })) table.apply(event)
    this.#wake()
  }

  /** Follows `$rules` until the signal aborts. `changed` is called after every event. */
  async follow(signal: AbortSignal, changed: () => void): Promise<void> {
    for await (const event of this.broker.read(rulesChannel.name, {
      from: { offset: this.#table.next },
      follow: true,
      signal,
    })) {
      if (event.offset >= this.#table.next) await this.refresh()
      changed()
    }
  }

  #wake(): void {
    for (const wake of this.#waiting) wake()
  }

  /** Like `refresh`; resolves when the start offsets of every change are known. */
  async allEffective(): Promise<void> {
    await this.refresh()
    while (this.#table.pending.length > 0) {
      await this.#nextEvent()
      // The process that made the change may have died before it published the start offsets.
      if (this.#table.pending.length > 0) await this.#makeEffective()
    }
  }

  /** Resolves after the next event of `$rules`, or after EFFECTIVE_WAIT_MS. */
  #nextEvent(): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#waiting.delete(wake)
        clearTimeout(timer)
        if (this.#table.pending.length === 0) resolve()
        else void this.refresh().then(resolve, resolve)
      }
      const timer = setTimeout(wake, EFFECTIVE_WAIT_MS)
      this.#waiting.add(wake)
    })
  }

  /**
   * Reads all of `$rules` again, because a forgotten version is needed. `loaded` is called when the new table replaces
   * the old one.
   */
  reload(listener: TableListener | null, loaded: () => void): Promise<void> {
    this.#reloading ??= this.#reload(listener, loaded).finally(() => {
      this.#reloading = null
    })
    return this.#reloading
  }

  async #reload(listener: TableListener | null, loaded: () => void): Promise<void> {
    const table = new RuleTable(listener)
    for await (const event of this.broker.read(rulesChannel.name)) table.apply(event)
    this.#table = table
    loaded()
    this.#wake()
    await this.allEffective()
  }

  /** Like `refresh`, for a broker that may have no rules: it does nothing if `$rules` does not exist. */
  async load(): Promise<void> {
    try {
      await this.refresh()
    } catch (error) {
      if (!isMillraceError(error, 'UNKNOWN_CHANNEL')) throw error
    }
  }

  /**
   * Adds or changes rules. A rule that is already as defined is not changed.
   * @throws INVALID_RULE when one is malformed, or is on a queue · UNKNOWN_CHANNEL when a channel is not declared
   */
  async put(definitions: readonly RuleDefinition[], note: ChangeNote): Promise<ChangeReceipt[]> {
    const rules = definitions.map(parseRule)
    await this.open()
    await this.#checkChannels(rules)
    await this.refresh()
    const planned = rules.map((rule) => this.#plan(rule, note))
    const names = rules.map((rule) => rule.name)
    return this.#publish(names, planned)
  }

  #plan({ name, definition, enabled }: Rule, note: ChangeNote): PlannedChange | null {
    const current = this.#table.current(name)
    const on = enabled ?? current?.change.enabled ?? true
    const digest =
      note.file === undefined
        ? undefined
        : this.#table.entries.get(name)?.digests.get(`${note.file.folder}/${note.file.path}`)
    const same =
      current !== undefined && current.change.enabled === on && sameDefinition(current.change.rule, definition)
    if (same && (note.file === undefined || digest === note.file.digest)) return null
    return {
      type: current === undefined ? 'rule.added' : 'rule.changed',
      change: { name, rule: definition, enabled: on, ...note },
    }
  }

  /** @throws UNKNOWN_RULE when there is no rule of the name */
  async setEnabled(name: string, enabled: boolean, note: ChangeNote): Promise<ChangeReceipt> {
    const { change } = await this.#existing(name)
    // The rule stays a rule of its file.
    const from = change.file === undefined ? {} : { file: change.file }
    const planned: PlannedChange = {
      type: enabled ? 'rule.enabled' : 'rule.disabled',
      change: { name, rule: change.rule, enabled, ...from, ...note },
    }
    const [receipt] = await this.#publish([name], [change.enabled === enabled ? null : planned])
    return receipt as ChangeReceipt
  }

  /** @throws UNKNOWN_RULE when there is no rule of the name */
  async remove(name: string, note: ChangeNote): Promise<ChangeReceipt> {
    await this.#existing(name)
    const [receipt] = await this.#publish(
      [name],
      [{ type: 'rule.removed', change: { name, rule: null, enabled: false, ...note } }],
    )
    return receipt as ChangeReceipt
  }

  async #existing(name: string): Promise<RuleVersion> {
    await this.load()
    const current = this.#table.current(name)
    if (current === undefined) throw unknownRule(name)
    return current
  }

  async #publish(names: readonly string[], planned: readonly (PlannedChange | null)[]): Promise<ChangeReceipt[]> {
    const changes = planned.filter((each) => each !== null)
    const before = names.map((name) => this.#revision(name))
    for (let at = 0; at < changes.length; at += LIMITS.ruleBatchMax) {
      const batch = changes
        .slice(at, at + LIMITS.ruleBatchMax)
        .map(({ type, change }) => ({ type, data: change, source: '/millrace/rules' }))
      await this.broker.publish(rulesChannel, batch)
    }
    if (changes.length > 0) {
      await this.refresh()
      await this.#makeEffective()
      await this.allEffective()
    }
    return names.map((name, index) => this.#receipt(name, this.#revision(name) !== before[index]))
  }

  #revision(name: string): number {
    return this.#table.entries.get(name)?.versions.at(-1)?.revision ?? 0
  }

  #receipt(name: string, changed: boolean): ChangeReceipt {
    const versions = this.#table.entries.get(name)?.versions ?? []
    const version = versions.at(-1)
    const on = new Set(versions.slice(-2).flatMap(({ rule }) => rule?.on ?? []))
    const takes = [...on].map((each) =>
      isWildcard(each) ? compileWildcard(each) : (channel: string) => channel === each,
    )
    const from = Object.entries(version?.effective ?? {}).filter(([channel]) => takes.some((test) => test(channel)))
    return { name, revision: version?.revision ?? 0, changed, from: Object.fromEntries(from) }
  }

  /** Publishes the start offsets of the pending changes: the current end of each channel that they concern. */
  async #makeEffective(): Promise<void> {
    const last = this.#table.pending.at(-1)
    if (last === undefined) return
    const engine = engineOf(this.broker)
    const concerned = (await engine.channels()).filter(({ name }) => this.#concerned(name))
    const ends = await Promise.all(
      concerned.map(async ({ name }) => [name, (await boundsIn(engine, name))?.next ?? 0] as const),
    )
    const offsets = Object.fromEntries(ends)
    await this.broker.publish(rulesChannel, {
      type: EFFECTIVE,
      data: { through: last.offset, offsets },
      source: '/millrace/rules',
    })
    await this.refresh()
  }

  /** Whether a pending change, or a version that it replaces, includes a channel. */
  #concerned(channel: string): boolean {
    if (channel.startsWith('$rule')) return false
    return this.#pendingChannels().some((test) => test(channel))
  }

  #pendingChannels(): ((channel: string) => boolean)[] {
    const names = new Set<string>()
    for (const { name } of this.#table.pending)
      for (const { rule } of this.#table.entries.get(name)?.versions ?? [])
        for (const on of rule?.on ?? []) names.add(on)
    return [...names].map((on) => (isWildcard(on) ? compileWildcard(on) : (channel: string) => channel === on))
  }

  /** All changes of a rule, oldest first. @throws UNKNOWN_RULE when the rule never existed */
  async history(
    name: string,
  ): Promise<{ readonly offset: number; readonly time: string; readonly type: string; readonly change: RuleChange }[]> {
    const found = []
    for await (const event of this.broker.read(rulesChannel.name)) {
      if (isChange(event) && event.data.name === name)
        found.push({ offset: event.offset, time: event.time ?? '', type: event.type, change: event.data })
    }
    if (found.length === 0) throw unknownRule(name)
    return found
  }

  /** Checks that rules read streams, and that the channels to which they write exist or may be created. */
  async #checkChannels(rules: readonly Rule[]): Promise<void> {
    const channels = new Map((await engineOf(this.broker).channels()).map((channel) => [channel.name, channel]))
    for (const rule of rules) {
      for (const on of rule.on) if (!isWildcard(on)) readable(on, channels)
      for (const action of rule.actions) {
        if (action.kind !== 'emit' && action.kind !== 'forward') continue
        if (channels.has(action.channel)) continue
        if (action.create === null) {
          throw new MillraceError(
            'UNKNOWN_CHANNEL',
            `rule "${rule.name}" writes to channel "${action.channel}", which is not declared: declare it, or let the action create it with "create: stream"`,
            { channel: action.channel, rule: rule.name },
          )
        }
        await this.broker.declare(action.create === 'stream' ? stream(action.channel) : queue(action.channel))
      }
    }
  }
}

function readable(on: string, channels: ReadonlyMap<string, ChannelSpec>): void {
  const channel = channels.get(on)
  if (channel === undefined)
    throw new MillraceError(
      'UNKNOWN_CHANNEL',
      `a rule names channel "${on}", which is not declared: declare it first`,
      { channel: on },
    )
  if (channel.kind === 'queue')
    refuseRule(
      'on',
      `"${on}" is a queue, and each of its events goes to one worker only: a rule would take events away from the workers. Use a stream`,
    )
}
