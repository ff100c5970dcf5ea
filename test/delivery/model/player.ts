/**
 * Plays a history: each step is done to the delivery room and reported to the model. At the end all events are
 * drained, and nothing may be left.
 */
import type { DeadLetterQuery } from '../../../src/broker/description.ts'
import type { ConsumerSpec, Delivery, DeliverySink } from '../../../src/broker/engine.ts'
import type { Failure } from '../../../src/broker/failure.ts'
import {
  type ChainRecord,
  consumerKeys,
  fromJson,
  lastNumber,
  QUEUE_GROUP,
  under,
} from '../../../src/delivery/consumer-records.ts'
import type { Account, Redrive } from './account.ts'
import { checkCredit, checkEmpty, checkRecords, checkSettled } from './end-check.ts'
import type { Broken } from './handing-faults.ts'
import {
  describeStep,
  type History,
  KEYS,
  LEASE_MS,
  overLimit,
  type Setup,
  type Step,
  TYPES,
  type Verb,
} from './history.ts'
import { type Kept, Ledger } from './ledger.ts'
import { groupOf, Room } from './room.ts'
import { SimClock, settled } from './sim-clock.ts'
import { SimLog } from './sim-log.ts'
import { SimStore } from './sim-store.ts'
import { Worker } from './worker.ts'

export const FAILURE: Failure = { name: 'Error', message: 'as the history says', kind: 'error' }
const CLAIMS_MS = 200
const ROUNDS_MAX = 400
/** How many reads may follow each other, at most, while nothing else happens. */
const READS_MAX = 300
/** How many rounds of the drain may pass without a change, at most. */
const STILL_MAX = 12

/** The clock of the history that is being played. */
export let playing: SimClock = new SimClock(0, 0)

export interface Outcome {
  readonly broken: Broken | null
  /** One line for each step and delivery. */
  readonly trace: readonly string[]
}

export class Player {
  readonly #setup: Setup
  readonly #logs: readonly SimLog[]
  readonly #ledger: Ledger
  readonly #trace: string[] = []
  #room: Room
  #workers: Worker[] = []
  readonly #lost: (readonly [Worker, Delivery])[] = []
  #step = 0
  #published = 0
  #named = 0
  #rewinding = false

  constructor(setup: Setup) {
    this.#setup = setup
    this.#logs = setup.channels.map((channel, at) => new SimLog(at + 1, channel))
    this.#ledger = new Ledger({
      nowMs: () => this.#room.clock.now(),
      steadyMs: () => this.#room.clock.steadyMs,
      step: () => this.#step,
      areApart: () => false,
      kept: (account) => this.#kept(account),
      version: () => this.#room.store.version,
      takers: () => this.#workers.filter(({ instance, closed }) => instance !== null && !closed),
    })
    this.#room = this.#enter(new SimStore(setup.near, new Map()), new SimClock(1000, 1_700_000_000_000), null)
  }

  #enter(store: SimStore, clock: SimClock, claimsMs: number | null): Room {
    playing = clock
    const hooks = {
      opened: (group: string, log: SimLog, floor: number) => this.#ledger.opened(group, log, floor),
      alarm: (error: unknown) => this.#ledger.fail('alarm', String(error)),
    }
    return new Room(this.#logs, store, clock, hooks, claimsMs)
  }

  #kept({ group, log }: Account): Map<number, Kept> {
    const records = this.#room.store.latestIn(under(consumerKeys.table('k', group, log.id)))
    return new Map(records.map(([key, bytes]) => [lastNumber(key), keptAs(fromJson<ChainRecord>(bytes))]))
  }

  async play(steps: readonly Step[]): Promise<Outcome> {
    for (const step of steps) {
      this.#step++
      this.#say(describeStep(step))
      await this.#do(step)
      await settled()
      this.#ledger.look()
      if (this.#ledger.broken !== null) break
    }
    if (this.#ledger.broken === null) await this.#drain()
    this.#room.end()
    for (const log of this.#logs) log.forget()
    return { broken: this.#ledger.broken, trace: this.#trace }
  }

  #sink(worker: Worker): DeliverySink {
    return {
      deliver: (deliveries) => {
        for (const delivery of deliveries) {
          this.#say(
            `    ${worker.name} gets ${delivery.channel}@${delivery.offset} ${delivery.key ?? '-'} attempt ${delivery.attempt}${delivery.redriven ? ' redriven' : ''}`,
          )
          this.#ledger.handed(worker, delivery)
        }
        const over = this.#setup.limited === true ? overLimit(this.#held.map(([, { type }]) => type)) : null
        if (over !== null) this.#ledger.fail('limit', over)
      },
      passesOn: false,
      revoked: (deliveries) => {
        this.#say(
          `    ${worker.name} loses ${deliveries.map(({ channel, offset }) => `${channel}@${offset}`).join(' ')}`,
        )
        for (const delivery of deliveries) this.#lost.push([worker, delivery])
        this.#ledger.revoked(worker, deliveries, this.#rewinding)
      },
    }
  }

  #say(line: string): void {
    this.#trace.push(line)
  }

  get #open(): Worker[] {
    return this.#workers.filter(({ closed }) => !closed)
  }

  async #do(step: Step): Promise<void> {
    switch (step.do) {
      case 'publish':
        return this.#publish(step.channel, step.events)
      case 'settle':
        return this.#settleOne(step.pick, step.verb, step.delayMs)
      case 'late':
        return this.#late(step.pick, step.verb)
      case 'commit':
        return this.#commit()
      case 'read':
        return this.#read(step.pick)
      case 'evict':
        for (const log of this.#logs) log.evict()
        return this.#room.store.evict()
      case 'pass':
        return this.#pass(step.ms)
      case 'jump':
        return this.#room.clock.jump(step.ms)
      case 'start':
        return this.#start(this.#setup.consumers[step.consumer] as ConsumerSpec)
      case 'redrive':
      case 'drop':
        return this.#letters(step.do, step.consumer, queryOf(step, this.#setup, this.#ledger), step)
      case 'rewind':
        return this.#rewind(step.consumer, step.channel, step.at)
      case 'retain':
        return this.#retain(this.#logs[step.channel] as SimLog, step.count)
      case 'compact':
        return (this.#logs[step.channel] as SimLog).compact()
      case 'crash':
        return this.#crash(step.survive)
      default:
        return this.#toWorker(step.do, this.#open[step.pick % Math.max(1, this.#open.length)])
    }
  }

  #publish(channel: number, events: readonly (readonly [key: number, type: number] | null)[]): void {
    const log = this.#logs[channel] as SimLog
    const made = events.map((event) => {
      if (event === null) return null
      const id = `e${this.#published++}`
      const type = TYPES[event[1]] as string
      const key = KEYS[event[0]] ?? null
      return { id, type, key, text: JSON.stringify({ id, type, key }) }
    })
    // The model must know the events before one of them is delivered.
    const ledger = this.#ledger
    const listener = { onCommitted: () => ledger.published() }
    log.listeners.delete(listener)
    const others = [...log.listeners]
    log.listeners.clear()
    for (const each of [listener, ...others]) log.listeners.add(each)
    log.append(made, this.#room.clock.now())
    log.listeners.delete(listener)
  }

  get #held(): (readonly [Worker, Delivery])[] {
    return this.#open.flatMap((worker) => [...worker.held].map((delivery) => [worker, delivery] as const))
  }

  #settleOne(pick: number, verb: Verb, delayMs: number): void {
    const held = this.#held.filter(([{ hung, begun, instance }]) => !hung && begun && instance !== null)
    const found = held[pick % Math.max(1, held.length)]
    if (found !== undefined) this.#settle(...found, verb, delayMs)
  }

  #late(pick: number, verb: Verb): void {
    const lost = this.#lost.filter(([{ instance }]) => instance !== null)
    const found = lost[pick % Math.max(1, lost.length)]
    if (found !== undefined) this.#settle(...found, verb, 0)
  }

  #settle(worker: Worker, delivery: Delivery, verb: Verb, delayMs: number): void {
    const { instance } = worker
    if (instance === null) return
    this.#say(`    ${worker.name}: ${verb} ${delivery.channel}@${delivery.offset}`)
    const answered =
      verb === 'complete'
        ? instance.complete(delivery, null)
        : verb === 'retry'
          ? instance.retry(delivery, delayMs, FAILURE)
          : verb === 'deadLetter'
            ? instance.deadLetter(delivery, FAILURE)
            : instance.release(delivery)
    this.#ledger.settled(delivery, verb, answered, worker.spec, delayMs)
  }

  #commit(): void {
    const { store } = this.#room
    if (store.committing) {
      store.endCommit()
      this.#ledger.endCommit()
    } else {
      store.beginCommit()
      this.#ledger.beginCommit()
    }
  }

  get #reads(): (() => void)[][] {
    return [...this.#logs.map(({ reads }) => reads), this.#room.store.fetches].filter((reads) => reads.length > 0)
  }

  #read(pick: number): void {
    const reads = this.#reads
    const list = reads[pick % Math.max(1, reads.length)]
    if (list !== undefined) list.splice(pick % list.length, 1)[0]?.()
  }

  async #pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= LEASE_MS / 10) {
      for (const worker of this.#open) if (!worker.hung) this.#renew(worker)
      await this.#room.clock.pass(Math.min(left, LEASE_MS / 10))
    }
  }

  #renew(worker: Worker): void {
    worker.instance?.renew()
    worker.lapsed = false
  }

  #start(spec: ConsumerSpec): void {
    const worker = new Worker(spec, `${spec.name}${++this.#named}`)
    this.#workers.push(worker)
    this.#subscribe(worker, [])
  }

  #subscribe(worker: Worker, held: readonly Delivery[]): void {
    worker.instance = this.#room.subscribe(worker.spec, this.#sink(worker), (instance) => {
      if (worker.closed) return
      worker.begun = true
      if (held.length === 0) return
      const outcomes = instance.claim(held.map(({ channel, offset, attempt }) => ({ channel, offset, attempt })))
      for (const [at, { channel, offset, attempt }] of held.entries()) {
        this.#say(`    ${worker.name} claims ${channel}@${offset}: ${outcomes[at]}`)
        this.#ledger.claimed(worker, channel, offset, attempt, outcomes[at] as 'kept' | 'done' | 'lost')
      }
    })
  }

  #toWorker(what: 'stop' | 'pause' | 'resume' | 'hang' | 'wake', worker: Worker | undefined): void {
    if (worker === undefined || worker.instance === null) return
    if (what === 'pause' || what === 'resume') {
      worker.paused = what === 'pause'
      worker.instance[what]()
    } else if (what === 'hang') worker.hung = true
    else if (what === 'wake') {
      worker.hung = false
      this.#renew(worker)
    } else if (!worker.hung && worker.begun) {
      // Its deliveries go back.
      for (const delivery of [...worker.held]) this.#ledger.settled(delivery, 'release', true, worker.spec, 0)
      worker.closed = true
      void worker.instance.close()
    }
  }

  #letters(how: 'redrive' | 'drop', consumer: number, query: DeadLetterQuery, _: Step | null): void {
    const spec = this.#setup.consumers[consumer] as ConsumerSpec
    const redrive: Redrive = {
      how,
      consumer: spec.name,
      query,
      step: this.#step,
      changed: [],
      answer: null,
      mixed: this.#ledger.redrives.length > 0,
      shaken: false,
    }
    for (const other of this.#ledger.redrives) other.mixed = true
    this.#say(`    ${how} ${JSON.stringify(query)}`)
    this.#ledger.redrives.push(redrive)
    void this.#room.settleLetters(spec, query, how).then((count) => {
      this.#say(`    ${how} answers ${count}`)
      redrive.answer = count
    })
  }

  #rewind(consumer: number, channel: number, at: number): void {
    const spec = this.#setup.consumers[consumer] as ConsumerSpec
    const log = this.#logs[channel] as SimLog
    const cursor = this.#room.cursors.get(`${groupOf(spec, log)}/${log.id}`)
    const account = this.#ledger.account(spec, log)
    if (cursor === undefined || account === undefined || log.spec.kind === 'queue') return
    const to = log.first + (at % (log.committed - log.first + 1))
    this.#say(`    to ${to}`)
    this.#rewinding = true
    cursor.rewind(to)
    this.#rewinding = false
    this.#ledger.rewound(account, to)
  }

  #retain(log: SimLog, count: number): void {
    if (log.spec.kind === 'queue') {
      const floor = this.#room.cursors.get(`${QUEUE_GROUP}/${log.id}`)?.done.floor ?? log.first
      log.retain(Math.min(floor, log.committed - count))
    } else log.retain(log.committed - count)
  }

  #crash(survive: boolean): void {
    const survivors = survive ? this.#open.filter(({ begun }) => begun) : []
    const held = survivors.map((worker) => [worker, [...worker.held]] as const)
    const { store, clock } = this.#room
    this.#room.end()
    for (const log of this.#logs) log.forget()
    const claimsMs = held.some(([, deliveries]) => deliveries.length > 0) ? CLAIMS_MS : null
    this.#ledger.crashed(survivors, clock.now() + (claimsMs ?? 0))
    for (const worker of this.#workers) {
      worker.instance = null
      worker.begun = false
      worker.held.clear()
      worker.lapsed = false
      worker.paused = false
    }
    this.#lost.length = 0
    this.#room = this.#enter(new SimStore(store.near, store.durable), clock.next(), claimsMs)
    this.#workers = survivors
    for (const [worker, deliveries] of held) this.#subscribe(worker, deliveries)
  }

  /**
   * The end of a history: all workers run and complete their deliveries, all calls are answered, all letters are
   * redriven.
   */
  async #drain(): Promise<void> {
    this.#say('drain')
    let still = 0
    let before = ''
    for (let round = 0; round < ROUNDS_MAX && still < STILL_MAX; round++) {
      this.#step++
      for (const worker of this.#open) {
        this.#toWorker('resume', worker)
        this.#toWorker('wake', worker)
      }
      for (const spec of this.#setup.consumers)
        if (!this.#open.some((worker) => worker.spec === spec)) this.#start(spec)
      await this.#flush()
      const held = this.#held.filter(([{ begun }]) => begun).sort(([, a], [, b]) => a.offset - b.offset)
      const [first] = held
      for (const [worker, delivery] of held) {
        this.#settle(worker, delivery, 'complete', 0)
        await settled()
      }
      this.#ledger.look()
      if (this.#ledger.broken !== null) return
      const now = this.#progress()
      still = now === before && first === undefined ? still + 1 : 0
      before = now
      if (still > 0 && this.#done) break
      if (still > 0 && still % 4 === 1)
        for (const [at] of this.#setup.consumers.entries()) this.#letters('redrive', at, {}, null)
      else if (still > 0) await this.#pass(still > 6 ? 11_000 : 300)
    }
    this.#checkEnd()
  }

  async #flush(): Promise<void> {
    for (let turn = 0; turn < 30 && (this.#reads.length > 0 || this.#room.store.busy); turn++) {
      let reads = 0
      for (; this.#reads.length > 0 && reads < READS_MAX; reads++) {
        this.#read(0)
        await settled()
        this.#ledger.look()
      }
      if (reads === READS_MAX)
        this.#ledger.fail('spin', `the same blocks are read ${READS_MAX} times while nothing else happens`)
      if (this.#room.store.busy) this.#commit()
      await settled()
      this.#ledger.look()
    }
  }

  #progress(): string {
    return [...this.#ledger.accounts.values()]
      .map((account) => account.list.map(({ state, least }) => `${state}${least}`).join())
      .join()
  }

  get #done(): boolean {
    if (this.#held.length > 0 || this.#ledger.redrives.length > 0) return false
    const floors = [...this.#room.cursors.values()].every(({ done, log }) => done.floor >= log.committed)
    return (
      floors &&
      [...this.#ledger.accounts.values()].every(
        (account) =>
          this.#kept(account).size === 0 &&
          account.list.every((entry) => entry.state === 'done' || (entry.state === 'open' && account.passable(entry))),
      )
    )
  }

  #checkEnd(): void {
    const ledger = this.#ledger
    for (const account of ledger.accounts.values()) {
      const cursor = this.#room.cursors.get(`${account.group}/${account.log.id}`)
      checkSettled(ledger, account, cursor, this.#kept(account))
      if (cursor === undefined) continue
      if (cursor.done.floor < account.log.committed)
        ledger.fail(
          'stuck',
          `${account.group} stands at ${cursor.done.floor} of ${account.log.committed} in ${account.log.name}`,
        )
      const where = `${account.group} in ${account.log.name}`
      checkEmpty(ledger, where, cursor, { blocking: cursor.box.blockade.size })
      for (const table of ['r', 'd', 'k'] as const) {
        const records = this.#room.store.latestIn(under(consumerKeys.table(table, account.group, account.log.id)))
        const keys = records.map(([key]) => key)
        checkRecords(ledger, keys)
      }
    }
    for (const worker of this.#open) checkCredit(ledger, worker, worker.instance)
  }
}

function keptAs({ state, consumer }: ChainRecord): Kept {
  return { dead: state === 'dead', consumer }
}

/** The dead letters that a step names. */
export function queryOf(
  step: Step & { readonly do: 'redrive' | 'drop' },
  setup: Setup,
  ledger: Ledger,
): DeadLetterQuery {
  const spec = setup.consumers[step.consumer] as ConsumerSpec
  const letters = [...ledger.accounts.values()].flatMap((account) =>
    account.list
      .filter(({ state, letter }) => state === 'dead' && letter?.consumer === spec.name)
      .map((entry) => ({ account, entry })),
  )
  const { account, entry } = letters[step.pick % Math.max(1, letters.length)] ?? {}
  const key = entry?.event.key ?? KEYS[0]
  switch (step.by) {
    case 'all':
      return {}
    case 'channel':
      return { channel: account?.log.name ?? 'c0' }
    case 'offset':
      return { channel: account?.log.name ?? 'c0', offset: entry?.offset ?? 0 }
    case 'id':
      return { id: entry?.event.id ?? 'none' }
    case 'key':
      return { key }
    case 'limit':
      return { limit: step.limit }
    case 'key and limit':
      return { key, limit: step.limit }
  }
}

export function play(history: History): Promise<Outcome> {
  return new Player(history.setup).play(history.steps)
}
