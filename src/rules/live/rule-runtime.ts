/**
 * Runs the rules: follows `$rules`, and keeps one router for every channel that rules name and one worker for every
 * action that has a queue.
 *
 * `#reconcile` compares what runs with the rules, and starts and stops routers and workers until they agree. Only one
 * comparison runs at a time.
 */

import type { Clock } from '../../base/clock.ts'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { compileWildcard, isWildcard } from '../../base/names.ts'
import type { Broker, BrokerHost, Stoppable } from '../../broker/broker.ts'
import type { Delivery } from '../../broker/engine.ts'
import { engineOf } from '../../broker/engine-of.ts'
import type { Channel } from '../../channel/channel.ts'
import type { HandlerContext, Running } from '../../consumer/consumer-types.ts'
import type { Action } from '../action/action.ts'
import type { CallHost } from '../action/call-action.ts'
import type { HttpHost } from '../action/http-action.ts'
import { firingQueue, queueName, workerName } from '../firing.ts'
import { ActionWorker, type ActionWorkerHost, formOf } from './action-worker.ts'
import { type Matched, RulesByChannel } from './channel-rules.ts'
import { RuleBook } from './rule-book.ts'
import { rulesChannel } from './rule-events.ts'
import { type RuleRouterHost, routerName, ruleRouter } from './rule-router.ts'
import { type RuleEntry, type RuleVersion, startOf } from './rule-table.ts'

export interface RuntimeOptions {
  readonly functions: CallHost
  readonly http: Pick<HttpHost, 'guard' | 'secret' | 'resolver'>
  readonly problem: (error: unknown) => void
}

/** How often ended versions are checked and forgotten, and failed starts are tried again. */
const UPKEEP_MS = 5000

export class RuleRuntime implements Stoppable, RuleRouterHost {
  readonly book: RuleBook
  readonly done: Promise<void>
  readonly #broker: Broker
  readonly #options: RuntimeOptions
  #index: RulesByChannel = new RulesByChannel()
  readonly #routers = new Map<string, Running>()
  readonly #workers = new Map<string, ActionWorker>()
  readonly #stoppingWorkers = new Map<string, Promise<void>>()
  readonly #queues = new Map<string, Channel>()
  readonly #stopping = new AbortController()
  #workerHost: ActionWorkerHost | null = null
  #reconciling: Promise<void> = Promise.resolve()
  #following: Promise<void> = Promise.resolve()
  #follows = false
  #timer: NodeJS.Timeout | null = null
  #stopped: Promise<void> | null = null
  #finish: () => void = () => undefined

  constructor(broker: Broker, options: RuntimeOptions) {
    this.#broker = broker
    this.#options = options
    this.book = new RuleBook(broker, this.#index)
    this.done = new Promise((resolve) => {
      this.#finish = resolve
    })
  }

  #reload(): Promise<void> {
    const index = new RulesByChannel()
    return this.book.reload(index, () => {
      this.#index = index
    })
  }

  async start(host: BrokerHost): Promise<this> {
    this.#workerHost = this.#makeActionWorkerHost(host.engine.clock, host.random)
    await this.book.open()
    await this.book.allEffective()
    await this.#forgetEnded()
    await this.#reconcile()
    this.#follow()
    // The timer also keeps the process alive while no rule exists.
    this.#timer = setInterval(() => void this.#upkeep(), UPKEEP_MS)
    return this
  }

  /** Follows `$rules`. After a failure, the next upkeep starts it again. */
  #follow(): void {
    this.#follows = true
    this.#following = this.book
      .follow(this.#stopping.signal, () => void this.#reconcile())
      .catch((error: unknown) => {
        if (!isMillraceError(error, 'CLOSED')) this.#options.problem(error)
      })
      .then(() => {
        this.#follows = false
      })
  }

  #makeActionWorkerHost(clock: Clock, random: () => number): ActionWorkerHost {
    return {
      http: { ...this.#options.http, nowMs: () => clock.now(), random },
      call: this.#options.functions,
      clock,
      entry: (name): RuleEntry | undefined => this.book.table.entries.get(name),
      gone: (name, reason) => {
        this.book
          .setEnabled(name, false, { author: 'millrace', reason })
          .catch((error: unknown) => this.#options.problem(error))
      },
    }
  }

  /** Makes the routers and workers agree with the rules, after the comparison that is running now. */
  #reconcile(): Promise<void> {
    this.#reconciling = this.#reconciling
      .then(() => this.#reconcileOnce())
      .catch((error: unknown) => this.#options.problem(error))
    return this.#reconciling
  }

  async #reconcileOnce(): Promise<void> {
    if (this.#stopping.signal.aborted) return
    for (const [on, rules] of this.#index.channels) {
      if (rules.versions.size > 0 && !this.#routers.has(on) && this.book.table.pending.length === 0)
        await this.#startRouter(on)
    }
    for (const [key, worker] of this.#workers) this.#updateWorker(key, worker)
    for (const [key, { name, action }] of this.book.table.queued)
      if (!this.#workers.has(key) && !this.#stoppingWorkers.has(key)) await this.#startWorker(key, name, action)
  }

  async #startRouter(on: string): Promise<void> {
    const starts = [...(this.#index.of(on)?.versions ?? [])].map(({ effective }) => startOf(effective ?? {}, on))
    // The channels of a wildcard have different start offsets. Events before a rule match nothing.
    const from = isWildcard(on) ? 'beginning' : { offset: Math.min(...starts) }
    try {
      this.#routers.set(on, await this.#broker.start(ruleRouter(on, from, this)))
    } catch (error) {
      // The channel may be declared later. The next upkeep tries again.
      if (!isMillraceError(error, 'UNKNOWN_CHANNEL')) throw error
    }
  }

  #actionOf(name: string, id: string): Action | undefined {
    return this.book.table.current(name)?.rule?.actions.find((action) => action.id === id)
  }

  async #startWorker(key: string, name: string, id: string): Promise<void> {
    const action = this.#actionOf(name, id)
    if (action === undefined || (action.kind === 'call' && !this.#options.functions.has(action.function))) return
    const worker = new ActionWorker(name, action, this.#workerHost as ActionWorkerHost)
    await this.#broker.start(worker)
    this.#workers.set(key, worker)
    this.#updateWorker(key, worker)
  }

  #updateWorker(key: string, worker: ActionWorker): void {
    const current = this.book.table.current(worker.rule)
    const action = this.#actionOf(worker.rule, worker.action)
    if (current === undefined || (action !== undefined && formOf(action) !== worker.form))
      this.#stopWorker(key, worker, current === undefined)
    else worker.update(action, current.change.enabled)
  }

  /** Stops a worker, after its running actions. Only then can the next worker of the action start. */
  #stopWorker(key: string, worker: ActionWorker, removed: boolean): void {
    this.#workers.delete(key)
    const stopping = worker
      .stop()
      .then(() => (removed ? this.#removeQueue(worker) : undefined))
      .catch((error: unknown) => this.#options.problem(error))
      .then(() => {
        this.#stoppingWorkers.delete(key)
        if (!this.#stopping.signal.aborted) void this.#reconcile()
      })
    this.#stoppingWorkers.set(key, stopping)
  }

  /**
   * Removes the queue of an action whose rule was removed. Workers of other processes may still run: the last one to
   * stop removes it.
   */
  async #removeQueue({ rule, action }: ActionWorker): Promise<void> {
    this.#queues.delete(`${rule}/${action}`)
    try {
      await this.#broker.consumer(workerName(rule, action)).remove()
      await this.#broker.channel(queueName(rule, action)).remove()
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error
    }
  }

  allEffective(): Promise<void> {
    return this.book.allEffective()
  }

  async match(on: string, delivery: Delivery): Promise<Matched> {
    if (delivery.offset < (this.book.table.forgottenBelow.get(delivery.channel) ?? 0)) await this.#reload()
    return this.#index.of(on)?.match(delivery) ?? { versions: [], event: null }
  }

  async queueOf({ name }: RuleVersion, action: Action): Promise<Parameters<HandlerContext['emit']>[0]> {
    const key = `${name}/${action.id}`
    let queue = this.#queues.get(key)
    if (queue === undefined || !this.book.table.queued.has(key)) {
      queue = firingQueue(name, action.id)
      await this.#broker.declare(queue)
      await this.#broker.publish(rulesChannel, {
        type: 'rule.queued',
        data: { name, action: action.id },
        source: '/millrace/rules',
      })
      this.#queues.set(key, queue)
    }
    return queue
  }

  async channels(): Promise<ReadonlySet<string>> {
    return new Set((await engineOf(this.#broker).channels()).map(({ name }) => name))
  }

  async #upkeep(): Promise<void> {
    if (!this.#follows && !this.#stopping.signal.aborted) this.#follow()
    try {
      await this.#forgetEnded()
    } catch (error) {
      if (!isMillraceError(error, 'CLOSED')) this.#options.problem(error)
    }
    await this.#reconcile()
  }

  /** Forgets versions that ended before every event that routers have not handled yet. */
  async #forgetEnded(): Promise<void> {
    const { table } = this.book
    const ended = table.ended
    if (ended.length === 0) return
    const engine = engineOf(this.#broker)
    const channels = (await engine.channels()).map(({ name }) => name)
    const oldest = ended.slice(0, LIMITS.ruleBatchMax)
    const floors = new Map<string, ReadonlyMap<string, number>>()
    for (const router of new Set(oldest.flatMap(({ rule }) => rule?.on.map(routerName) ?? []))) {
      const positions = (await engine.consumers.describe(router))?.channels ?? []
      floors.set(router, new Map(positions.map(({ channel, floor }) => [channel, floor])))
    }
    for (const version of oldest) {
      const passed = endsPassed(version, floors, channels)
      if (passed !== null) table.forget(version, passed)
    }
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<void> {
    this.#stopping.abort()
    if (this.#timer !== null) clearInterval(this.#timer)
    await this.#following
    await this.#reconciling
    await Promise.all(this.#stoppingWorkers.values())
    await Promise.all([...this.#routers.values(), ...this.#workers.values()].map((running) => running.stop()))
    this.#finish()
  }
}

/** The end of a version in each of its channels, or `null` if a router has not handled all events before it. */
function endsPassed(
  version: RuleVersion,
  floors: ReadonlyMap<string, ReadonlyMap<string, number>>,
  channels: readonly string[],
): ReadonlyMap<string, number> | null {
  const ending = version.next?.effective ?? null
  if (ending === null) return null
  const passed = new Map<string, number>()
  for (const on of version.rule?.on ?? []) {
    const takes = isWildcard(on) ? compileWildcard(on) : (name: string): boolean => name === on
    for (const name of channels) {
      if (!takes(name)) continue
      const end = startOf(ending, name)
      if (end > 0 && (floors.get(routerName(on))?.get(name) ?? 0) < end) return null
      passed.set(name, end)
    }
  }
  return passed
}
