/**
 * Plays a history against the engine over other brokers' logs. Processes share partitions, are slow, hang and die,
 * and answers are lost.
 */
import type { DeadLetterQuery } from '../../../src/broker/description.ts'
import type { ConsumerSpec, Delivery, DeliverySink } from '../../../src/broker/engine.ts'
import type { Cursor } from '../../../src/delivery/cursor/cursor.ts'
import type { HeldDelivery } from '../../../src/delivery/dispatch/held-delivery.ts'
import type { Instance } from '../../../src/delivery/dispatch/instance.ts'
import { keyOf, type Redrive } from './account.ts'
import { checkCredit, checkEmpty, checkRecords, checkSettled } from './end-check.ts'
import { describeStep, type History, KEYS, LEASE_MS, type Setup, type Step, TYPES, type Verb } from './history.ts'
import { Ledger } from './ledger.ts'
import { FAILURE, type Outcome, queryOf } from './player.ts'
import { idle, type Process, ServedWorld } from './served-world.ts'
import { SimClock } from './sim-clock.ts'
import { Worker } from './worker.ts'

const PROCESSES = 2
/** Alarms of lost answers, and of two versions of a consumer that run at once. */
const EXPECTED: ReadonlySet<string> = new Set(['UNAVAILABLE', 'CONSUMER_DIFFERS'])
const ROUNDS_MAX = 200
/** How many rounds of the drain may pass without a change, at most. */
const STILL_MAX = 12
/** Letters are stored, completions written. */
const COMMIT_MS = 6
/** Records of what is not settled. */
const TABLES = ['r', 'd', 'k'] as const

class ServedWorker extends Worker {
  readonly process: Process

  constructor(spec: ConsumerSpec, name: string, process: Process) {
    super(spec, name)
    this.process = process
  }

  get runs(): boolean {
    return !this.closed && !this.process.dead
  }
}

export class ServedPlayer {
  readonly #setup: Setup
  readonly #world: ServedWorld
  readonly #ledger: Ledger
  readonly #trace: string[] = []
  #workers: ServedWorker[] = []
  readonly #lost: (readonly [ServedWorker, Delivery])[] = []
  #step = 0
  #version = 0
  #published = 0
  #named = 0

  constructor(setup: Setup) {
    this.#setup = setup
    const clock = new SimClock(1000, 1_700_000_000_000)
    this.#world = new ServedWorld(
      setup,
      clock,
      () => this.#ledger,
      (code, message) => {
        this.#say(`    ${code}: ${message}`)
        if (!EXPECTED.has(code)) this.#ledger.fail('alarm', `${code}: ${message}`)
      },
    )
    this.#ledger = new Ledger({
      nowMs: () => clock.now(),
      steadyMs: () => clock.steadyMs,
      step: () => this.#step,
      areApart: (one, other) => (one as ServedWorker).process !== (other as ServedWorker).process,
      kept: (account) => this.#world.kept(account),
      version: () => ++this.#version,
      takers: (account) => this.#takers(this.#world.owner(keyOf(account))?.process),
    })
  }

  #takers(process: Process | undefined): ServedWorker[] {
    return this.#workers.filter((worker) => worker.runs && worker.process === process && worker.instance !== null)
  }

  async play(steps: readonly Step[]): Promise<Outcome> {
    await this.#world.begin()
    for (const step of steps) {
      this.#step++
      this.#say(describeStep(step))
      await this.#do(step)
      await idle()
      this.#ledger.look()
      if (this.#ledger.broken !== null) break
    }
    if (this.#ledger.broken === null) await this.#drain()
    await this.#world.end()
    return { broken: this.#ledger.broken, trace: this.#trace }
  }

  #say(line: string): void {
    this.#trace.push(line)
  }

  get #open(): ServedWorker[] {
    return this.#workers.filter(({ runs }) => runs)
  }

  #sink(worker: ServedWorker): DeliverySink {
    return {
      deliver: (deliveries) => {
        if (worker.process.dead) return
        for (const delivery of deliveries) {
          const stale = this.#isStale(delivery)
          const what = `${delivery.channel}@${delivery.offset} ${delivery.key ?? '-'} attempt ${delivery.attempt}${delivery.redriven ? ' redriven' : ''}`
          this.#say(
            `    ${worker.name} of ${worker.process.member} gets ${what}${stale ? ', of a partition that it has lost' : ''}`,
          )
          if (stale) worker.stale.add(delivery)
          else this.#ledger.handed(worker, delivery)
        }
      },
      passesOn: false,
      revoked: (deliveries) => {
        if (worker.process.dead) return
        this.#say(
          `    ${worker.name} loses ${deliveries.map(({ channel, offset }) => `${channel}@${offset}`).join(' ')}`,
        )
        for (const delivery of deliveries) this.#lost.push([worker, delivery])
        const its = deliveries.filter((delivery) => !worker.stale.delete(delivery) && this.#ledger.isLive(delivery))
        if (this.#world.rewinding) this.#ledger.revoked(worker, its, true)
        else if ((worker.instance as Instance | null)?.lapsed === true) this.#ledger.revoked(worker, its, false)
      },
    }
  }

  /** Whether its partition belongs to another process, as the partition's consumer log says. */
  #isStale(delivery: Delivery): boolean {
    const cursor = (delivery as HeldDelivery).cursor as Cursor
    return this.#world.owner(`${cursor.group}/${cursor.log.name}/${cursor.log.id}`)?.owned.cursor !== cursor
  }

  async #do(step: Step): Promise<void> {
    const process = this.#process
    switch (step.do) {
      case 'publish':
        return this.#publish(step.channel, step.events)
      case 'settle':
        return this.#settleOne(step.pick, step.verb, step.delayMs)
      case 'late':
        return this.#late(step.pick, step.verb)
      case 'commit':
        for (const each of this.#world.processes) each.letThrough()
        return this.#pass(COMMIT_MS)
      case 'read':
        return this.#letOneThrough(step.pick)
      case 'evict':
        if (process !== undefined) process.slow = true
        return
      case 'pass':
        return this.#pass(step.ms)
      case 'jump':
        return this.#world.clock.jump(step.ms)
      case 'start':
        return this.#start(this.#setup.consumers[step.consumer] as ConsumerSpec, step.consumer)
      case 'redrive':
      case 'drop':
        return this.#letters(step.do, step.consumer, queryOf(step, this.#setup, this.#ledger))
      case 'rewind':
        return this.#rewind(step.consumer, step.channel, step.at)
      case 'retain':
        return this.#world.retain((this.#setup.channels[step.channel] as Setup['channels'][number]).name, step.count)
      case 'compact':
        if (process !== undefined) process.loses = this.#step % 3 === 0 ? 'append' : 'appendConsumerLog'
        return
      case 'crash':
        if (process === undefined) return
        if (step.survive) process.hung = true
        else this.#die(process)
        return
      default:
        return this.#toWorker(step.do, this.#open[step.pick % Math.max(1, this.#open.length)])
    }
  }

  /** The process that a step names. */
  get #process(): Process | undefined {
    const { processes } = this.#world
    return processes[this.#step % Math.max(1, processes.length)]
  }

  #publish(channel: number, events: readonly (readonly [key: number, type: number] | null)[]): void {
    const { name: of } = this.#setup.channels[channel] as Setup['channels'][number]
    const made = events.flatMap((event) => {
      if (event === null) return []
      const id = `e${this.#published++}`
      const type = TYPES[event[1]] as string
      return [{ id, type, key: KEYS[event[0]] ?? null, text: JSON.stringify({ id, type }) }]
    })
    if (made.length > 0) void this.#process?.engine.publishBatch(of, made, null).catch(() => undefined)
  }

  get #held(): (readonly [ServedWorker, Delivery])[] {
    return this.#open.flatMap((worker) =>
      [...worker.held, ...worker.stale].map((delivery) => [worker, delivery] as const),
    )
  }

  #settleOne(pick: number, verb: Verb, delayMs: number): void {
    const held = this.#held.filter(([{ hung, begun, process }]) => !hung && begun && !process.hung)
    const found = held[pick % Math.max(1, held.length)]
    if (found !== undefined) this.#settle(...found, verb, delayMs)
  }

  #late(pick: number, verb: Verb): void {
    const lost = this.#lost.filter(([{ runs, process }]) => runs && !process.hung)
    const found = lost[pick % Math.max(1, lost.length)]
    if (found !== undefined) this.#settle(...found, verb, 0)
  }

  #settle(worker: ServedWorker, delivery: Delivery, verb: Verb, delayMs: number): void {
    const { instance } = worker
    if (instance === null) return
    this.#say(`    ${worker.name}: ${verb} ${delivery.channel}@${delivery.offset}`)
    const stale = worker.stale.delete(delivery)
    const answered =
      verb === 'complete'
        ? instance.complete(delivery, null)
        : verb === 'retry'
          ? instance.retry(delivery, delayMs, FAILURE)
          : verb === 'deadLetter'
            ? instance.deadLetter(delivery, FAILURE)
            : instance.release(delivery)
    if (!stale) this.#ledger.settled(delivery, verb, answered, worker.spec, delayMs)
  }

  #letOneThrough(pick: number): void {
    const slow = this.#world.processes.filter(({ calls }) => calls.length > 0)
    const calls = slow[pick % Math.max(1, slow.length)]?.calls
    calls?.splice(pick % calls.length, 1)[0]?.()
  }

  async #pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= LEASE_MS / 10) {
      for (const worker of this.#open) if (!worker.hung && !worker.process.hung) this.#renew(worker)
      await this.#world.clock.pass(Math.min(left, LEASE_MS / 10), idle)
    }
  }

  #renew(worker: ServedWorker): void {
    worker.instance?.renew()
    worker.lapsed = false
  }

  async #start(spec: ConsumerSpec, at: number): Promise<void> {
    this.#named++
    const { processes } = this.#world
    const process =
      processes.length < PROCESSES && (this.#named + at) % 2 === 0
        ? await this.#world.begin()
        : processes[this.#named % processes.length]
    this.#startAt(spec, process ?? (await this.#world.begin()))
  }

  #startAt(spec: ConsumerSpec, process: Process): void {
    const worker = new ServedWorker(spec, `${spec.name}${this.#workers.length + 1}`, process)
    this.#workers.push(worker)
    process.engine.subscribe(spec, this.#sink(worker)).then(
      (subscription) => {
        worker.instance = subscription as Instance
        worker.begun = true
      },
      (error: unknown) => this.#ledger.fail('alarm', String(error)),
    )
  }

  #die(process: Process): void {
    this.#say(`    ${process.member} dies`)
    this.#world.die(process)
  }

  #toWorker(what: 'stop' | 'pause' | 'resume' | 'hang' | 'wake', worker: ServedWorker | undefined): void {
    if (worker === undefined || worker.instance === null) return
    if (what === 'pause' || what === 'resume') {
      worker.paused = what === 'pause'
      worker.instance[what]()
    } else if (what === 'hang') worker.hung = true
    else if (what === 'wake') {
      worker.hung = false
      worker.process.wake()
      this.#renew(worker)
    } else if (!worker.hung && !worker.process.hung) {
      for (const delivery of [...worker.held]) this.#ledger.settled(delivery, 'release', true, worker.spec, 0)
      worker.stale.clear()
      worker.closed = true
      void worker.instance.close().catch(() => undefined)
    }
  }

  #letters(how: 'redrive' | 'drop', consumer: number, query: DeadLetterQuery): void {
    const spec = this.#setup.consumers[consumer] as ConsumerSpec
    const process = this.#process
    if (process === undefined) return
    const ledger = this.#ledger
    // The count and the letters that are left out are not compared here: events that are given up meanwhile in other
    // processes may be among them.
    const redrive: Redrive = {
      how,
      consumer: spec.name,
      query,
      step: this.#step,
      changed: [],
      answer: null,
      mixed: ledger.redrives.length > 0,
      shaken: true,
    }
    for (const other of ledger.redrives) other.mixed = true
    this.#say(`    ${how} ${JSON.stringify(query)} at ${process.member}`)
    ledger.redrives.push(redrive)
    const { consumers } = process.engine
    const asked = how === 'redrive' ? consumers.redrive(spec.name, query) : consumers.dropDeadLetters(spec.name, query)
    asked.then(
      (count) => {
        this.#say(`    ${how} answers ${count}`)
        redrive.answer = count
      },
      (error: unknown) => {
        this.#say(`    ${how} fails: ${String(error)}`)
        redrive.answer = 0
        redrive.mixed = true
      },
    )
  }

  #rewind(consumer: number, channel: number, at: number): void {
    const spec = this.#setup.consumers[consumer] as ConsumerSpec
    const { name: of, kind } = this.#setup.channels[channel] as Setup['channels'][number]
    if (kind === 'queue') return
    const logs = this.#world.logs.filter((log) => log.name === of)
    const first = Math.max(...logs.map((log) => log.first))
    const end = Math.max(...logs.map(({ committed }) => committed))
    const offset = first + (at % (Math.max(0, end - first) + 1))
    this.#say(`    to ${offset}`)
    void this.#process?.engine.consumers
      .rewind(spec.name, { offset }, of, null)
      .catch((error: unknown) => this.#say(`    rewind fails: ${String(error)}`))
  }

  /**
   * The end of a history: all workers run and complete their deliveries, all calls are answered, all letters are
   * redriven.
   */
  async #drain(): Promise<void> {
    this.#say('drain')
    if (this.#world.processes.length === 0) await this.#world.begin()
    let still = 0
    let before = ''
    for (let round = 0; round < ROUNDS_MAX && still < STILL_MAX; round++) {
      this.#step++
      for (const process of this.#world.processes) {
        process.wake()
        process.letThrough()
        process.loses = null
        for (const spec of this.#setup.consumers) {
          if (!this.#open.some((worker) => worker.spec === spec && worker.process === process))
            this.#startAt(spec, process)
        }
      }
      for (const worker of this.#open) for (const what of ['resume', 'wake'] as const) this.#toWorker(what, worker)
      await this.#pass(COMMIT_MS)
      const held = this.#held.filter(([{ begun }]) => begun).sort(([, a], [, b]) => a.offset - b.offset)
      for (const [worker, delivery] of held) {
        if (!worker.held.has(delivery) && !worker.stale.has(delivery)) continue
        this.#settle(worker, delivery, 'complete', 0)
        await idle()
      }
      this.#ledger.look()
      if (this.#ledger.broken !== null) return
      const now = this.#progress()
      still = now === before && held.length === 0 ? still + 1 : 0
      before = now
      if (still > 0 && this.#done) break
      if (still > 0 && still % 4 === 1)
        for (const [at] of this.#setup.consumers.entries()) this.#letters('redrive', at, {})
      else if (still > 0) await this.#pass(still > 6 ? 11_000 : 700)
    }
    this.#checkEnd()
  }

  #progress(): string {
    return [...this.#ledger.accounts.values()]
      .map((account) => account.list.map(({ state, least }) => `${state}${least}`).join())
      .join()
  }

  get #done(): boolean {
    if (this.#held.length > 0 || this.#ledger.redrives.length > 0) return false
    return [...this.#ledger.accounts.values()].every((account) => {
      // An event that retention removed before its next attempt is settled when that attempt is due. An append whose
      // answer was lost is looked up after a while.
      const floor = this.#world.owner(keyOf(account))?.owned.cursor.done.floor ?? -1
      return (
        floor >= account.log.committed &&
        this.#world.kept(account).size === 0 &&
        TABLES.every((table) => this.#world.left(table, account).length === 0) &&
        account.list.every((entry) => entry.state === 'done' || (entry.state === 'open' && account.passable(entry)))
      )
    })
  }

  #checkEnd(): void {
    const ledger = this.#ledger
    for (const account of ledger.accounts.values()) {
      const owner = this.#world.owner(keyOf(account))
      if (owner === null) {
        ledger.fail('stuck', `${keyOf(account)} has no owner`)
        continue
      }
      const { cursor } = owner.owned
      checkSettled(ledger, account, cursor, this.#world.kept(account))
      checkEmpty(ledger, keyOf(account), cursor)
      for (const table of TABLES) checkRecords(ledger, this.#world.left(table, account))
    }
    for (const worker of this.#open) checkCredit(ledger, worker, worker.instance as Instance | null)
  }
}

/**
 * As it can be over servers: versions of one consumer, and workers of one queue, take the same events wherever they
 * run.
 */
function served({ setup, steps }: History): History {
  const [first] = setup.consumers
  const all =
    first !== undefined &&
    (setup.channels.some(({ kind }) => kind === 'queue') || setup.consumers[1]?.name === first.name)
  const wants = [{ type: null, pattern: null }]
  return {
    setup: { ...setup, consumers: all ? setup.consumers.map((spec) => ({ ...spec, wants })) : setup.consumers },
    steps,
  }
}

export function playServed(history: History): Promise<Outcome> {
  const { setup, steps } = served(history)
  return new ServedPlayer(setup).play(steps)
}
