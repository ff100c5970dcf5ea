/**
 * The rules as `$rules` has them up to some offset, by folding its events in order.
 *
 * Each change of a rule is a version. A version is in force for the events of a channel from its own offset to that of the next version, so
 * an event is matched by the rules of its place, whenever it is handled. Versions that no event can ask for any more are forgotten.
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
  /** Counts the changes of the rule, from 1. */
  readonly revision: number
  /** Its place in `$rules`. */
  readonly offset: number
  readonly time: string
  readonly type: string
  readonly change: RuleChange
  /** Compiled; `null` when it was removed, or cannot be read. */
  readonly rule: Rule | null
  /** Why it cannot be read: it was written by another version of Millrace. */
  readonly problem: string | null
  /** The first offset of each channel to which it applies; `null` until that is known. */
  effective: RulesEffective['offsets'] | null
  /** The version that follows it. */
  next: RuleVersion | null
}

export interface RuleEntry {
  readonly name: string
  versions: RuleVersion[]
  /** Where in `$rules` it was added, after it had been removed if it was. */
  since: number
  /** The last content that each folder's file gave, by which a file acts only when it changes. */
  readonly digests: Map<string, string>
}

/** Told of versions that appear and go: the index of each channel. */
export interface TableListener {
  added(version: RuleVersion): void
  forgotten(version: RuleVersion): void
}

export class RuleTable {
  readonly entries: Map<string, RuleEntry> = new Map()
  /** Actions that have queues, as `name/action`. */
  readonly queued: Map<string, RuleQueued> = new Map()
  /** Files that were refused and not taken up since, as `folder/path`. */
  readonly refused: Map<string, RuleRefused> = new Map()
  /** The next offset of `$rules` to fold. */
  next = 0
  /** Versions of which it is not known from where they apply. */
  pending: RuleVersion[] = []
  /** Versions that ended before these offsets were forgotten: older events need them again. */
  readonly forgottenBelow: Map<string, number> = new Map()
  readonly #listener: TableListener | null

  constructor(listener: TableListener | null = null) {
    this.#listener = listener
  }

  /** Take in the next event; one that was taken in before changes nothing. */
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

  /** The rule as it is now; `undefined` when it was removed or never was. */
  current(name: string): RuleVersion | undefined {
    const version = this.entries.get(name)?.versions.at(-1)
    return version === undefined || version.change.rule === null ? undefined : version
  }

  /** All rules as they are now, by name. */
  *all(): Generator<RuleVersion> {
    for (const name of [...this.entries.keys()].sort()) {
      const version = this.current(name)
      if (version !== undefined) yield version
    }
  }

  /** Versions that ended, and are still kept. */
  get ended(): RuleVersion[] {
    return [...this.entries.values()].flatMap(({ versions }) => versions.slice(0, -1))
  }

  /** Forget a version that ended: no event that is still to be handled lies before `floors`, where its channels are read. */
  forget(version: RuleVersion, floors: ReadonlyMap<string, number>): void {
    const entry = this.entries.get(version.name)
    if (entry === undefined) return
    entry.versions = entry.versions.filter((each) => each !== version)
    for (const [channel, floor] of floors)
      this.forgottenBelow.set(channel, Math.max(floor, this.forgottenBelow.get(channel) ?? 0))
    this.#listener?.forgotten(version)
  }
}

/** Whether a version is in force for an event: it applies already, and the next one does not yet. */
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
