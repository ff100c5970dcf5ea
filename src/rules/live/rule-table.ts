/**
 * The rules that follow from the events of `$rules` up to some offset.
 *
 * Each change of a rule makes a version. A version is in force for the events of a channel from its start offset to the
 * start offset of the next version. So an event is matched by the rules that are in force at its offset, whenever it is
 * handled. Versions that no unhandled event needs are forgotten.
 */
import type { StoredEvent } from '../../event/cloud-event.ts'
import { parseRule, type Rule, type RuleDefinition } from '../rule.ts'
import {
  effectiveIn,
  isChange,
  queuedIn,
  type RuleChange,
  type RuleQueued,
  type RuleRefused,
  type RulesEffective,
  refusedIn,
} from './rule-events.ts'

/** One change of one rule. */
export interface RuleVersion {
  readonly name: string
  /** The number of the change of this rule, from 1. */
  readonly revision: number
  /** Its offset in `$rules`. */
  readonly offset: number
  readonly time: string
  readonly type: string
  readonly change: RuleChange
  /** The compiled rule; `null` if the rule was removed, or cannot be read. */
  readonly rule: Rule | null
  /** Why the rule cannot be read: another version of Millrace wrote it. */
  readonly problem: string | null
  /** The first offset of each channel to which the version applies; `null` until it is known. */
  effective: RulesEffective['offsets'] | null
  /** The version that replaced this one. */
  next: RuleVersion | null
}

export interface RuleEntry {
  readonly name: string
  versions: RuleVersion[]
  /** The offset in `$rules` at which the rule was last added. */
  since: number
  /**
   * The digest of the last content of each file, as `folder/path`. A file changes the rule only if its content changes.
   */
  readonly digests: Map<string, string>
}

/** Is notified of versions that are added and forgotten. */
export interface TableListener {
  added(version: RuleVersion): void
  forgotten(version: RuleVersion): void
}

export class RuleTable {
  readonly entries: Map<string, RuleEntry> = new Map()
  /** Actions that have a queue, by `name/action`. */
  readonly queued: Map<string, RuleQueued> = new Map()
  /** Refused files that are not corrected yet, by `folder/path`. */
  readonly refused: Map<string, RuleRefused> = new Map()
  /** The next offset of `$rules` to apply. */
  next = 0
  /** Versions whose start offsets are not known yet. */
  pending: RuleVersion[] = []
  /** By channel: events before this offset need versions that were forgotten. */
  readonly forgottenBelow: Map<string, number> = new Map()
  readonly #listener: TableListener | null

  constructor(listener: TableListener | null = null) {
    this.#listener = listener
  }

  /** Applies the next event. An event that was applied before changes nothing. */
  apply(event: StoredEvent): void {
    if (event.offset < this.next) return
    this.next = event.offset + 1
    if (isChange(event)) this.#change(event)
    const [effective, queued, refused] = [effectiveIn(event), queuedIn(event), refusedIn(event)]
    if (effective !== null) this.#effective(effective)
    if (queued !== null) this.queued.set(`${queued.name}/${queued.action}`, queued)
    if (refused !== null) this.#refused(refused)
  }

  #refused(refused: RuleRefused): void {
    const key = `${refused.folder}/${refused.path}`
    if (refused.reason === null) this.refused.delete(key)
    else this.refused.set(key, refused)
  }

  #change(event: StoredEvent<string, RuleChange>): void {
    const { name, rule, enabled, file } = event.data
    const entry = this.entries.get(name) ?? {
      name,
      versions: [],
      since: event.offset,
      digests: new Map<string, string>(),
    }
    if (file !== undefined) {
      entry.digests.set(`${file.folder}/${file.path}`, file.digest)
      this.refused.delete(`${file.folder}/${file.path}`)
    }
    this.entries.set(name, entry)
    const before = entry.versions.at(-1)
    if (before !== undefined && before.change.enabled === enabled && sameDefinition(before.change.rule, rule)) return
    if (rule === null) for (const [key, queued] of this.queued) if (queued.name === name) this.queued.delete(key)
    const version: RuleVersion = {
      name,
      revision: (before?.revision ?? 0) + 1,
      offset: event.offset,
      time: event.time ?? '',
      type: event.type,
      change: event.data,
      ...compiled(rule),
      effective: null,
      next: null,
    }
    if (before !== undefined) before.next = version
    if (before?.change.rule === null) entry.since = event.offset
    entry.versions.push(version)
    this.pending.push(version)
    this.#listener?.added(version)
  }

  #effective({ through, offsets }: RulesEffective): void {
    if (this.pending.length === 0) return
    for (const version of this.pending) if (version.offset <= through) version.effective = offsets
    this.pending = this.pending.filter((version) => version.effective === null)
  }

  /** The current version; `undefined` if the rule was removed or never existed. */
  current(name: string): RuleVersion | undefined {
    const version = this.entries.get(name)?.versions.at(-1)
    return version === undefined || version.change.rule === null ? undefined : version
  }

  /** The current versions of all rules, by name. */
  *all(): Generator<RuleVersion> {
    for (const name of [...this.entries.keys()].sort()) {
      const version = this.current(name)
      if (version !== undefined) yield version
    }
  }

  /** Versions that were replaced and are still kept. */
  get ended(): RuleVersion[] {
    return [...this.entries.values()].flatMap(({ versions }) => versions.slice(0, -1))
  }

  /** Forgets a version that ended. All events before `floors` of its channels have been handled. */
  forget(version: RuleVersion, floors: ReadonlyMap<string, number>): void {
    const entry = this.entries.get(version.name)
    if (entry === undefined) return
    entry.versions = entry.versions.filter((each) => each !== version)
    for (const [channel, floor] of floors)
      this.forgottenBelow.set(channel, Math.max(floor, this.forgottenBelow.get(channel) ?? 0))
    this.#listener?.forgotten(version)
  }
}

/** Whether a version applies to an event, and the next version does not. */
export function inForce(version: RuleVersion, channel: string, offset: number): boolean {
  if (version.effective === null || offset < startOf(version.effective, channel)) return false
  const ending = version.next?.effective ?? null
  return ending === null || offset < startOf(ending, channel)
}

export function startOf(offsets: RulesEffective['offsets'], channel: string): number {
  return Object.hasOwn(offsets, channel) ? (offsets[channel] as number) : 0
}

export function sameDefinition(one: RuleDefinition | null, other: RuleDefinition | null): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other)
}

function compiled(rule: RuleDefinition | null): Pick<RuleVersion, 'rule' | 'problem'> {
  if (rule === null) return { rule: null, problem: null }
  try {
    return { rule: parseRule(rule), problem: null }
  } catch (error) {
    return { rule: null, problem: (error as Error).message }
  }
}
