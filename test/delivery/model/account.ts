/** What the model knows of one consumer in one channel: for each event, where it stands. No lanes, no chains: every rule is looked up in the list. */
import type { DeadLetterQuery } from '../../../src/broker/description.ts'
import type { BlockEvent } from '../../../src/event/block.ts'
import type { Worker } from './worker.ts'

/** A channel, or a partition of one, as the model sees it. */
export interface ModelLog {
  readonly id: number
  readonly name: string
  readonly spec: { readonly kind: 'stream' | 'queue' }
  /** Retention has taken what is before it. */
  readonly first: number
  /** The offset behind the last event. */
  readonly committed: number
  /** What was published, oldest first. */
  events(): Iterable<readonly [offset: number, event: BlockEvent, timeMs: number]>
  holds(offset: number): boolean
  /** A later event of the key has taken its place. */
  superseded(key: string | null, offset: number): boolean
}

/** An event in the hands of a worker. */
export interface Hand {
  readonly worker: Worker
  /** It was claimed: it may have overtaken what a crash brought back. */
  readonly claimed: boolean
  readonly sinceMs: number
}

export interface Letter {
  readonly consumer: string
  /** Later events of its key wait behind it. */
  readonly parks: boolean
  readonly blocks: boolean
  /** The number of the step in which it died. */
  readonly step: number
}

export interface Entry {
  readonly offset: number
  readonly event: BlockEvent
  readonly timeMs: number
  /** `open` is to be delivered, or in hand. */
  state: 'open' | 'done' | 'dead'
  /** Attempts used, at least and at most: after a crash it depends on what was recorded. */
  least: number
  most: number
  dueMs: number
  letter: Letter | null
  /** The room itself gave it up. */
  buried: boolean
  /** It was a dead letter, and comes back. */
  redriven: boolean
  /** It was a dead letter that nothing waited for: it has no place among the events of its key. */
  loose: boolean
  /** The redrive that gave it back, while it was not handed out since. */
  batch: Redrive | null
  /** It was in hand at a crash, or a lost lease: it runs alone before others. */
  suspect: boolean
  /** It need not be delivered: nobody who ran wanted it, or the consumer was moved past it. */
  mayPass: boolean
  /** A worker that outlived the crash has it in hand, or may claim it until this time. */
  reserved: { readonly worker: Worker; readonly untilMs: number } | null
  claimedBy: Worker | null
  hand: Hand | null
  /** Earlier events of its batch that were in hand beside it when it became a dead letter. */
  beside: readonly number[]
  /** An engine has died since then: of these either may come back first. */
  ahead: readonly number[]
  /** When it left a worker's hands, to be tried again. */
  leftMs: number
}

/** Dead letters are being given back, or deleted. */
export interface Redrive {
  readonly how: 'redrive' | 'drop'
  readonly consumer: string
  readonly query: DeadLetterQuery
  /** The number of the step in which it began. */
  readonly step: number
  readonly changed: { readonly account: Account; readonly offset: number }[]
  answer: number | null
  /** Others were asked for at the same time: whose a change is cannot be told. */
  mixed: boolean
  /** What it had changed may be undone, as a partition went to another process meanwhile. */
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
  /** The version of the records that was looked at last. */
  seen: number | null = null
  #sorted: Entry[] | null = null

  constructor(group: string, log: ModelLog, from: number, grown = true) {
    this.group = group
    this.log = log
    this.from = from
    if (grown) this.grow()
  }

  /** Take in what was published. */
  grow(): void {
    const from = Math.max(this.from, this.log.first)
    for (const [offset, event, timeMs] of this.log.events())
      if (offset >= from && !this.entries.has(offset)) this.#put(fresh(offset, event, timeMs))
  }

  /** As it is when this moment is what a crash goes back to. */
  copy(): Account {
    const copy = new Account(this.group, this.log, this.from, false)
    for (const entry of this.list) copy.#put({ ...entry })
    return copy
  }

  #put(entry: Entry): void {
    this.entries.set(entry.offset, entry)
    this.#sorted = null
  }

  /** All of them, in their order. */
  get list(): readonly Entry[] {
    this.#sorted ??= [...this.entries.values()].sort((a, b) => a.offset - b.offset)
    return this.#sorted
  }

  /** Events of a key. */
  ofKey(key: string): Entry[] {
    return this.list.filter(({ event }) => event.key === key)
  }

  /** Retention or a later event of its key has taken it, or it need not be delivered. */
  passable(entry: Entry): boolean {
    return entry.mayPass || entry.offset < this.log.first || this.log.superseded(entry.event.key, entry.offset)
  }

  rewind(to: number): void {
    this.from = Math.min(this.from, to)
    for (const entry of this.list) {
      if (entry.offset >= to) this.#put(fresh(entry.offset, entry.event, entry.timeMs))
      else if (entry.state === 'open') {
        // What comes back from the dead letters is kept, and its attempts are forgotten with the others.
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

/** It was given up by the room itself in this step: what was handed out before is told behind it. */
export function isBuriedIn({ letter, buried }: Entry, step: number): boolean {
  return buried && letter?.step === step
}

/** An account as it was, and when. */
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
