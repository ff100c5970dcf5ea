/**
 * The model: which event may be delivered to which worker, as which attempt, and what must have been delivered at the
 * end.
 *
 * It gets every step of a history and every delivery, and keeps the first rule that was broken. It does not read
 * cursors, lanes or chains. Of the product it sees only deliveries, answers, and which events the records call dead.
 */
import type { ConsumerSpec, Delivery } from '../../../src/broker/engine.ts'
import { Account, type Entry, keyOf, type ModelLog, matches, name, type Redrive, type Saved } from './account.ts'
import { afterCrash } from './after-crash.ts'
import { type Broken, eventFaults, type Rule, turnFaults } from './handing-faults.ts'
import { groupOf } from './room.ts'
import type { Worker } from './worker.ts'

/** What the records say of an event among the dead letters. */
export interface Kept {
  readonly dead: boolean
  readonly consumer: string
}

/** What the model is told of time and of the records. */
export interface LedgerHost {
  nowMs(): number
  steadyMs(): number
  step(): number
  /** Whether two workers run in two processes that are connected to one server. */
  areApart(one: Worker, other: Worker): boolean
  kept(account: Account): ReadonlyMap<number, Kept>
  /** Grows when records change. */
  version(): number
  /** Workers that may be given events of an account. */
  takers(account: Account): readonly Worker[]
}

export class Ledger {
  broken: Broken | null = null
  accounts: Map<string, Account> = new Map()
  /** Redrives and drops that were asked for and not answered. */
  readonly redrives: Redrive[] = []
  readonly #host: LedgerHost
  /** Redrives that named an event which was given up in the same step, so that the model did not see it dead. */
  readonly #unseen: Redrive[] = []
  readonly #entries = new Map<Delivery, readonly [Account, Entry]>()
  #committing: Map<string, Saved> = new Map()
  #durable: Map<string, Saved> = new Map()

  constructor(host: LedgerHost) {
    this.#host = host
  }

  fail(rule: Rule, message: string): void {
    this.broken ??= { rule, message }
  }

  opened(group: string, log: ModelLog, floor: number): void {
    const key = keyOf({ group, log })
    if (!this.accounts.has(key)) this.accounts.set(key, new Account(group, log, floor))
  }

  published(): void {
    for (const account of this.accounts.values()) account.grow()
  }

  /** Where an event of a consumer stands. */
  find(
    spec: ConsumerSpec,
    { channel, offset }: { readonly channel: string; readonly offset: number },
  ): Account | undefined {
    return [...this.accounts.values()].find(
      ({ log, group }) => log.name === channel && log.holds(offset) && group === groupOf(spec, log),
    )
  }

  account(spec: ConsumerSpec, log: ModelLog): Account | undefined {
    return this.accounts.get(keyOf({ group: groupOf(spec, log), log }))
  }

  /** Attached workers that may be given events of an account. */
  #takersOf(account: Account): readonly Worker[] {
    return this.#host
      .takers(account)
      .filter(({ spec }) => spec.channels.includes(account.log.name) && groupOf(spec, account.log) === account.group)
  }

  /** A delivery was given to a worker. */
  handed(worker: Worker, delivery: Delivery): void {
    const account = this.find(worker.spec, delivery)
    const entry = account?.entries.get(delivery.offset)
    if (account === undefined || entry === undefined)
      return this.fail(
        'exists',
        `${worker.name} was given offset ${delivery.offset} of ${delivery.channel}, which is none of its events`,
      )
    const what = `${name(account, entry)}, given to ${worker.name} as attempt ${delivery.attempt}`
    this.observe(account)
    if (delivery.redriven && delivery.attempt === 1 && entry.least > 0)
      this.#gaveUpUnseen(account, entry, worker.spec, 'redrive')
    const handing = { worker, account, entry, nowMs: this.#host.nowMs(), step: this.#host.step() }
    for (const [rule, fault] of eventFaults(handing, delivery)) this.fail(rule, `${what}: ${fault}`)
    for (const [rule, fault] of turnFaults(handing)) this.fail(rule, `${what}: ${fault}`)
    this.#checkOrder(worker, account, entry, what)
    entry.hand = { worker, claimed: entry.claimedBy === worker, sinceMs: this.#host.steadyMs() }
    entry.claimedBy = null
    entry.reserved = null
    entry.batch = null
    entry.least = entry.most = delivery.attempt - 1
    worker.held.add(delivery)
    this.#entries.set(delivery, [account, entry])
    if (worker.held.size > worker.spec.credit)
      this.fail('credit', `${what}: it has ${worker.held.size} in hand, and credit for ${worker.spec.credit}`)
  }

  /** Clause 4. */
  #checkOrder(worker: Worker, account: Account, entry: Entry, what: string): void {
    const { key } = entry.event
    if (key === null) return
    const claimed = entry.claimedBy === worker
    for (const other of account.ofKey(key)) {
      if (other === entry) continue
      if (other.hand !== null) {
        const together =
          other.hand.worker === worker &&
          worker.spec.perKey > 1 &&
          (other.offset < entry.offset || claimed || other.hand.claimed)
        if (!together)
          this.fail(
            'one-at-a-time',
            `${what}: ${name(account, other)} of its key is in the hands of ${other.hand.worker.name}`,
          )
      } else if (
        other.offset < entry.offset &&
        !entry.loose &&
        !entry.ahead.includes(other.offset) &&
        !claimed &&
        this.#holdsBack(account, other)
      ) {
        if (this.#gaveUpUnseen(account, other, worker.spec, 'drop')) continue
        this.fail('order', `${what}: ${name(account, other)} of its key comes first`)
      }
    }
    for (const other of this.accounts.values()) {
      if (other === account) continue
      const inHand = other.ofKey(key).find(({ hand }) => hand?.worker.spec.name === worker.spec.name)
      const isQueue = account.log.spec.kind === 'queue' || other.log.spec.kind === 'queue'
      // Over servers, between a queue and another channel it holds within a process.
      if (isQueue && inHand?.hand != null && this.#host.areApart(inHand.hand.worker, worker)) continue
      if (inHand !== undefined) this.fail('across-channels', `${what}: ${name(other, inHand)} of its key is in hand`)
    }
  }

  /** Whether later events of its key wait for it. */
  #holdsBack(account: Account, entry: Entry): boolean {
    if (entry.state === 'dead') return entry.letter?.parks === true
    if (entry.state === 'done' || entry.loose || account.passable(entry)) return false
    return this.#takersOf(account).some((worker) => worker.wants(entry.event))
  }

  /** Whether an event before it, of its key, is to be handled first; null where either is right. */
  #waitsBehind(account: Account, entry: Entry, verb: 'complete' | 'deadLetter'): boolean | null {
    if (entry.event.key === null || entry.loose) return false
    const before = account.ofKey(entry.event.key).filter(({ offset, hand, state, letter }) => {
      if (offset >= entry.offset || hand !== null) return false
      return state === 'open' || (state === 'dead' && verb === 'complete' && letter?.parks === true)
    })
    if (before.length === 0) return false
    // A dead letter that came back may have been behind it when it was given.
    return (
      before.some(
        (other) => !other.redriven && !entry.ahead.includes(other.offset) && this.#holdsBack(account, other),
      ) || null
    )
  }

  #end(delivery: Delivery): readonly [Account, Entry] | null {
    const found = this.#entries.get(delivery)
    if (found === undefined) return null
    this.#entries.delete(delivery)
    const [, entry] = found
    entry.hand?.worker.held.delete(delivery)
    entry.hand = null
    entry.leftMs = this.#host.steadyMs()
    return found
  }

  isLive(delivery: Delivery): boolean {
    return this.#entries.has(delivery)
  }

  /** A worker has settled a delivery, and was answered. */
  settled(
    delivery: Delivery,
    verb: 'complete' | 'retry' | 'deadLetter' | 'release',
    answered: boolean,
    spec: ConsumerSpec,
    delayMs: number,
  ): void {
    const found = this.#end(delivery)
    if (found === null) {
      if (answered)
        this.fail(
          'answer',
          `${verb} of offset ${delivery.offset} of ${delivery.channel} was taken, and is not that worker's any more`,
        )
      return
    }
    const [account, entry] = found
    if (account.list.some(({ state }) => state === 'dead')) this.observe(account, entry)
    const what = `${verb} of ${name(account, entry)}`
    const waits = this.#waitsBehind(account, entry, verb === 'complete' ? verb : 'deadLetter')
    if (verb === 'complete') {
      if (answered && waits === true) this.fail('order', `${what} was taken before an earlier event of its key`)
      if (!answered && waits === false) this.fail('answer', `${what} was refused`)
      if (answered) entry.state = 'done'
      return
    }
    if (!answered) this.fail('answer', `${what} was refused`)
    entry.suspect = false
    if (verb === 'retry') {
      entry.least = entry.most = delivery.attempt
      entry.dueMs = this.#host.nowMs() + delayMs
    } else if (verb === 'deadLetter') {
      const dead = this.#host.kept(account).get(entry.offset)?.dead === true
      if (dead && waits === true) this.fail('order', `${what} was taken before an earlier event of its key`)
      if (!dead && waits === false) this.fail('letters', `${what}: there is no letter`)
      if (dead) this.#die(account, entry, spec)
    }
  }

  #die(account: Account, entry: Entry, spec: ConsumerSpec): void {
    const earlier = account
      .ofKey(entry.event.key ?? '')
      .filter(({ offset, hand }) => offset < entry.offset && hand !== null)
    entry.beside = earlier.map(({ offset }) => offset)
    entry.ahead = []
    const onDead = spec.onDead ?? (entry.event.key === null ? 'skip' : 'park')
    entry.state = 'dead'
    entry.letter = {
      consumer: spec.name,
      parks: onDead === 'park' && entry.event.key !== null,
      blocks: onDead === 'block',
      step: this.#host.step(),
    }
    entry.least = entry.most = entry.dueMs = 0
    entry.suspect = entry.redriven = entry.loose = entry.buried = false
  }

  /** Deliveries were taken away: because of a lost lease, or a rewind. */
  revoked(worker: Worker, deliveries: readonly Delivery[], rewinding: boolean): void {
    if (!rewinding) {
      if (!worker.hung) this.fail('lease', `${worker.name} lives, and lost ${deliveries.length} event(s)`)
      worker.lapsed = true
    }
    for (const delivery of deliveries) {
      const found = this.#end(delivery)
      if (found === null || rewinding) continue
      const [, entry] = found
      entry.least = entry.most = delivery.attempt
      entry.suspect = true
      entry.dueMs = 0
    }
  }

  /**
   * Compare with the records of dead letters: those that were redriven or dropped, and those that the room itself gave
   * up.
   */
  observe(account: Account, except: Entry | null = null): void {
    const version = this.#host.version()
    if (except === null && account.seen === version) return
    account.seen = except === null ? version : null
    const kept = this.#host.kept(account)
    for (const entry of account.list) {
      if (entry === except) continue
      const now = kept.get(entry.offset)
      if (entry.state === 'dead' && now?.dead !== true)
        this.#changed(account, entry, now === undefined ? 'drop' : 'redrive')
      else if (entry.state !== 'dead' && now?.dead === true) this.#buried(account, entry, now.consumer)
    }
  }

  #changed(account: Account, entry: Entry, how: 'redrive' | 'drop'): void {
    const asked = this.redrives.filter((each) => each.how === how && matches(each, account, entry))
    const redrive =
      asked.find(
        ({ changed, answer, query }) => changed.length < (answer ?? query.limit ?? Number.POSITIVE_INFINITY),
      ) ?? asked.find(({ mixed }) => mixed)
    if (redrive === undefined)
      return this.fail('letters', `${name(account, entry)} is no dead letter any more: nobody asked for a ${how}`)
    this.#cameBack(account, entry, redrive)
  }

  #cameBack(account: Account, entry: Entry, redrive: Redrive): void {
    redrive.changed.push({ account, offset: entry.offset })
    entry.state = redrive.how === 'drop' ? 'done' : 'open'
    entry.redriven = true
    entry.loose = entry.letter?.parks !== true
    entry.batch = redrive
  }

  /** An event whose worker keeps dying: clause 5. */
  #buried(account: Account, entry: Entry, consumer: string): void {
    const taker = this.#takersOf(account).find(({ spec }) => spec.name === consumer && entry.most >= spec.attemptsMax)
    if (entry.state === 'done' || entry.hand !== null || !entry.suspect || taker === undefined)
      return this.fail('letters', `${name(account, entry)} was given up`)
    this.#die(account, entry, taker.spec)
    entry.buried = true
  }

  /** It was given up, and redriven or dropped, within one step. */
  #gaveUpUnseen(account: Account, entry: Entry, spec: ConsumerSpec, how: Redrive['how']): boolean {
    const redrive = [...this.redrives, ...this.#unseen].find((each) => each.how === how && each.consumer === spec.name)
    if (entry.state !== 'open' || !entry.suspect || entry.most < spec.attemptsMax || redrive === undefined) return false
    this.#die(account, entry, spec)
    this.#cameBack(account, entry, redrive)
    return true
  }

  /** After each step. */
  look(): void {
    for (const account of this.accounts.values()) {
      this.observe(account)
      this.#checkLoose(account)
      const takers = this.#takersOf(account)
      if (account.log.spec.kind === 'queue' || takers.length === 0) continue
      for (const entry of account.entries.values())
        if (entry.hand === null && entry.state === 'open' && !takers.some((worker) => worker.wants(entry.event)))
          entry.mayPass = true
    }
    for (const redrive of [...this.redrives]) if (redrive.answer !== null) this.#answered(redrive, redrive.answer)
  }

  /** Letters that were redriven together come back in their order. */
  #checkLoose(account: Account): void {
    const waiting = account.list.filter(({ batch, loose, state }) => batch !== null && loose && state === 'open')
    for (const entry of waiting) {
      const passed = account.list.find(
        ({ offset, hand, event }) =>
          offset > entry.offset &&
          hand !== null &&
          event.key === entry.event.key &&
          this.#isOf(account, offset, entry.batch),
      )
      if (passed?.loose === true && passed.least === 0)
        this.fail('redrive-order', `${name(account, passed)} came back before ${name(account, entry)}`)
    }
  }

  #isOf(account: Account, offset: number, batch: Redrive | null): boolean {
    return batch?.changed.some((each) => each.account === account && each.offset === offset) === true
  }

  /** A redrive, or a drop, is over: it named what it should, and no more. */
  #answered(redrive: Redrive, answer: number): void {
    this.redrives.splice(this.redrives.indexOf(redrive), 1)
    const { changed, how, query, step } = redrive
    const what = `the ${how} of ${JSON.stringify(query)}`
    const unseen =
      answer > changed.length &&
      [...this.accounts.values()].some((account) =>
        account.list.some(({ state, suspect }) => state === 'open' && suspect),
      )
    if (redrive.shaken) return
    if (unseen) this.#unseen.push(redrive)
    else if (!redrive.mixed && answer !== changed.length)
      this.fail('letters', `${what} answered ${answer}, and ${changed.length} changed`)
    if (query.limit !== undefined && answer > query.limit) this.fail('letters', `${what} took ${answer}`)
    for (const account of this.accounts.values()) {
      const missed = account.list.find(
        (entry) => entry.state === 'dead' && (entry.letter?.step ?? step) < step && matches(redrive, account, entry),
      )
      if (missed === undefined) continue
      if (query.limit === undefined) this.fail('letters', `${what} passed over ${name(account, missed)}`)
      else if (changed.some((each) => each.account === account && each.offset > missed.offset))
        this.fail('letters', `${what} passed over ${name(account, missed)}, which is older`)
    }
  }

  claimed(worker: Worker, channel: string, offset: number, attempt: number, outcome: 'kept' | 'done' | 'lost'): void {
    const account = this.find(worker.spec, { channel, offset })
    const entry = account?.entries.get(offset)
    if (account === undefined || entry === undefined) return
    entry.reserved = null
    if (outcome === 'done' && entry.state === 'open' && !account.passable(entry))
      this.fail('claim', `${name(account, entry)}, claimed by ${worker.name}, is not done`)
    if (outcome !== 'kept') return
    if (entry.state !== 'open' || entry.hand !== null)
      this.fail('claim', `${name(account, entry)} is not to be had for ${worker.name}`)
    entry.claimedBy = worker
    entry.least = entry.most = attempt - 1
    entry.dueMs = 0
  }

  /** A rewind is about to begin. */
  rewound(account: Account, to: number): void {
    account.rewind(to)
  }

  beginCommit(): void {
    this.#committing = new Map([...this.accounts].map(([key, account]) => [key, this.saved(account)]))
  }

  endCommit(): void {
    this.#durable = this.#committing
  }

  /** An account as it is now. */
  saved(account: Account): Saved {
    return { account: account.copy(), ms: this.#host.steadyMs() }
  }

  /** What an account was is durable. */
  stored(saved: Saved): void {
    this.#durable.set(keyOf(saved.account), saved)
  }

  /**
   * A partition moved to another process, or again to the same one, while a process had not given it back: changes that
   * were not durable have not happened.
   */
  takenOver(key: string): void {
    const before = this.accounts.get(key)
    if (before === undefined) return
    for (const [delivery, [account, entry]] of this.#entries) {
      if (account !== before) continue
      this.#entries.delete(delivery)
      entry.hand?.worker.held.delete(delivery)
      entry.hand?.worker.stale.add(delivery)
    }
    this.#restore(key, before)
    // Whose workers live may have been asked for the partition alone: what is in hands then has used no attempt.
    for (const entry of this.accounts.get(key)?.list ?? []) afterCrash(entry, null)
    for (const redrive of this.redrives) this.#shake(redrive, key)
  }

  /** What it had given back and is dead again is asked for once more. */
  #shake(redrive: Redrive, key: string): void {
    redrive.shaken = true
    const isAgain = ({ account, offset }: Redrive['changed'][number]): boolean =>
      keyOf(account) === key && this.accounts.get(key)?.entries.get(offset)?.state === 'dead'
    redrive.changed.splice(0, redrive.changed.length, ...redrive.changed.filter((each) => !isAgain(each)))
  }

  #restore(key: string, before: Account): void {
    const account = this.#durable.get(key)?.account.copy() ?? new Account(before.group, before.log, before.from)
    account.grow()
    this.accounts.set(key, account)
  }

  /** The engine's process died: what it had not made durable has not happened. */
  crashed(survivors: readonly Worker[], claimsUntilMs: number): void {
    const held = survivors.flatMap((worker) => [...worker.held].map((delivery) => [worker, delivery] as const))
    this.#entries.clear()
    this.redrives.length = 0
    this.accounts = new Map()
    for (const [key, { account, ms }] of this.#durable) {
      this.#restore(key, account)
      for (const entry of this.accounts.get(key)?.list ?? []) afterCrash(entry, ms)
    }
    for (const [worker, delivery] of held) {
      const entry = this.find(worker.spec, delivery)?.entries.get(delivery.offset)
      if (entry?.state === 'open') entry.reserved = { worker, untilMs: claimsUntilMs }
    }
  }
}
