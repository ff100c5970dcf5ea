/**
 * What the model knows of one consumer in one log: the state of each event. It has no lanes and no chains: each rule
 * searches the list.
 */
import type { DeadLetterQuery } from '../../../src/broker/description.ts'
import type { BlockEvent } from '../../../src/event/block.ts'
import type { Worker } from './worker.ts'

/** A channel, or a partition of one, as the model sees it. */
export interface ModelLog {
  readonly id: number
  readonly name: string
  readonly spec: { readonly kind: 'stream' | 'queue' }
  /** Retention has removed the events before this offset. */
  readonly first: number
  /** The offset after the last event. */
  readonly committed: number
  /** The published events, oldest first. */
  events(): Iterable<readonly [offset: number, event: BlockEvent, timeMs: number]>
  holds(offset: number): boolean
  /** Whether a later event of the key has replaced it. */
  superseded(key: string | null, offset: number): boolean
}

/** A delivery that a worker holds. */
export interface Hand {
  readonly worker: Worker
  /** It was claimed: it may be delivered before earlier events that a crash brought back. */
  readonly claimed: boolean
  readonly sinceMs: number
}

export interface Letter {
  readonly consumer: string
  /** Later events of its key wait behind it. */
  readonly parks: boolean
  readonly blocks: boolean
  /** The number of the step in which the event was given up. */
  readonly step: number
}

export interface Entry {
  readonly offset: number
  readonly event: BlockEvent
  readonly timeMs: number
  /** `open`: to be delivered, or in flight. */
  state: 'open' | 'done' | 'dead'
  /** The attempts used, at least and at most: after a crash, the number depends on what was recorded. */
  least: number
  most: number
  dueMs: number
  letter: Letter | null
  /** The delivery room gave it up, without a worker. */
  buried: boolean
  /** It was a dead letter and is redriven. */
  redriven: boolean
  /** It was a dead letter that held back no event: it keeps no order with the events of its key. */
  loose: boolean
  /** The redrive that gave it back, until it is delivered. */
  batch: Redrive | null
  /** It was in flight at a crash or a lost lease: it has to run alone first. */
  suspect: boolean
  /** It need not be delivered: no running worker matched it, or the consumer was moved past it. */
  mayPass: boolean
  /** A worker that outlived the crash holds it and may claim it until this time. */
  reserved: { readonly worker: Worker; readonly untilMs: number } | null
  claimedBy: Worker | null
  hand: Hand | null
  /** Earlier events of its batch that were in flight when it became a dead letter. */
  beside: readonly number[]
  /** An engine has died since then: any of these may come back first. */
  ahead: readonly number[]
  /** When a worker gave it back for another attempt. */
  leftMs: number
}

/** A redrive or a drop that is under way. */
export interface Redrive {
  readonly how: 'redrive' | 'drop'
  readonly consumer: string
  readonly query: DeadLetterQuery
  /** The number of the step in which it began. */
  readonly step: number
  readonly changed: { readonly account: Account; readonly offset: number }[]
  answer: number | null
  /** Another one was under way at the same time: a change may be of either. */
  mixed: boolean
  /** Its changes may be undone, because a partition went to another process meanwhile. */
  shaken: boolean
}

export function matches({ query, consumer }: Redrive, account: Account, { offset, event, letter }: Entry): boolean {
  return (
    letter?.consumer === consumer &&
    (query.channel === undefined || query.channel === account.log.name) &&
    (query.offset === undefined || query.offset === offset) &&
    (query.id === undefined || query.id === event.id) &&
    (query.key === undefined || query.key === event.key)
  )
}

export class Account {
  readonly group: string
  readonly log: ModelLog
  readonly entries: Map<number, Entry> = new Map()
  from: number
  /** The version of the records at the last look. */
  seen: number | null = null
  #sorted: Entry[] | null = null

  constructor(group: string, log: ModelLog, from: number, grown = true) {
    this.group = group
    this.log = log
    this.from = from
    if (grown) this.grow()
  }

  /** Add the events that were published. */
  grow(): void {
    const from = Math.max(this.from, this.log.first)
    for (const [offset, event, timeMs] of this.log.events())
      if (offset >= from && !this.entries.has(offset)) this.#put(fresh(offset, event, timeMs))
  }

  /** A copy, to which a crash goes back. */
  copy(): Account {
    const copy = new Account(this.group, this.log, this.from, false)
    for (const entry of this.list) copy.#put({ ...entry })
    return copy
  }

  #put(entry: Entry): void {
    this.entries.set(entry.offset, entry)
    this.#sorted = null
  }

  /** All entries, in offset order. */
  get list(): readonly Entry[] {
    this.#sorted ??= [...this.entries.values()].sort((a, b) => a.offset - b.offset)
    return this.#sorted
  }

  /** The entries of a key. */
  ofKey(key: string): Entry[] {
    return this.list.filter(({ event }) => event.key === key)
  }

  /** Whether it may be skipped: it was removed by retention, replaced by a later event, or need not be delivered. */
  passable(entry: Entry): boolean {
    return entry.mayPass || entry.offset < this.log.first || this.log.superseded(entry.event.key, entry.offset)
  }

  rewind(to: number): void {
    this.from = Math.min(this.from, to)
    for (const entry of this.list) {
      if (entry.offset >= to) this.#put(fresh(entry.offset, entry.event, entry.timeMs))
      else if (entry.state === 'open') {
        // A redriven letter is kept; its attempts are forgotten like those of the others.
        Object.assign(entry, { mayPass: true, least: 0, dueMs: 0 })
      }
    }
    this.grow()
  }
}

function fresh(offset: number, event: BlockEvent, timeMs: number): Entry {
  return {
    ...{
      offset,
      event,
      timeMs,
      state: 'open',
      least: 0,
      most: 0,
      dueMs: 0,
      letter: null,
      buried: false,
      redriven: false,
      loose: false,
      batch: null,
    },
    ...{
      suspect: false,
      mayPass: false,
      reserved: null,
      claimedBy: null,
      hand: null,
      beside: [],
      ahead: [],
      leftMs: Number.NEGATIVE_INFINITY,
    },
  }
}

/** Whether the delivery room gave the event up in this step. The model hears of earlier deliveries after that. */
export function isBuriedIn({ letter, buried }: Entry, step: number): boolean {
  return buried && letter?.step === step
}

/** A copy of an account, and its time. */
export interface Saved {
  readonly account: Account
  readonly ms: number
}

export function keyOf({ group, log }: Pick<Account, 'group' | 'log'>): string {
  return `${group}/${log.name}/${log.id}`
}

export function name({ log }: Account, { offset, event }: Entry): string {
  return `${log.name}@${offset}${event.key === null ? '' : ` (${event.key})`}`
}
