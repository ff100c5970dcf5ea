/**
 * Runs the redrives of a broker in this process, and those that another process began and did not end.
 *
 * The jobs are events of a queue, and this is a consumer of it: so a job runs in one process at a time, by the lease
 * that every delivery has, and goes to another process when its process dies or hangs (clause 11).
 */
import { randomUUID } from 'node:crypto'
import { every } from '../../base/clock.ts'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { REDRIVE_RUNNER } from '../../base/names.ts'
import type { Delivery } from '../../broker/engine.ts'
import type { HandlerContext, Running } from '../../consumer/consumer-types.ts'
import { Released } from '../../consumer/failure.ts'
import { textConsumer } from '../../consumer/text-consumer.ts'
import { decodeEvent } from '../../event/encode.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { badRequest } from '../problem.ts'
import { fingerprintsOf } from './letter-prints.ts'
import { RedriveBook, redriveQueue } from './redrive-book.ts'
import { type RedriveHost, RedriveJob } from './redrive-job.ts'
import {
  initialState,
  orderIn,
  progressOf,
  type RedriveOrder,
  type RedrivePlan,
  type RedriveProgress,
  type RedriveState,
} from './redrive-state.ts'

const REFRESH_MS = 1000
const SHOWN_MS = 5000
const LOOK_MS = 25

function runsAlready({ consumer }: RedrivePlan): MillraceError {
  return badRequest(409, `a redrive of consumer "${consumer}" runs already: wait for its end, or stop it`)
}

export class RedriveRunner {
  readonly #host: Pick<GatewayHost, 'broker' | 'core' | 'report'>
  readonly #book: RedriveBook
  /** Jobs that were ordered here, until their first state is read. */
  readonly #ordered = new Map<string, RedriveState>()
  /** Jobs that run here. */
  readonly #jobs = new Map<string, { readonly job: RedriveJob; readonly done: Promise<void> }>()
  readonly #closing = new AbortController()
  #running: Running | null = null
  #starting: Promise<void> = Promise.resolve()
  #cancelTending: () => void = () => undefined
  #refreshedMs = Number.NEGATIVE_INFINITY

  constructor(host: Pick<GatewayHost, 'broker' | 'core' | 'report'>) {
    this.#host = host
    this.#book = new RedriveBook(host.broker)
  }

  /** Go on with the jobs that wait. Never throws: where the broker is out of reach now, a later look tries again. */
  async start(): Promise<void> {
    await this.#tend()
    if (this.#closing.signal.aborted) return
    this.#cancelTending = every(this.#clock, LIMITS.redriveTendMs, () => void this.#tend())
  }

  /** The jobs stay in the queue: the next process continues with them. */
  async close(): Promise<void> {
    this.#closing.abort()
    this.#cancelTending()
    await this.#starting.catch(() => undefined)
    await this.#running?.stop()
    await Promise.allSettled([...this.#jobs.values()].map(({ done }) => done))
  }

  /** Resolves when the job will be done, whatever happens to this process. @throws BACKPRESSURE · INVALID_REQUEST */
  async order(plan: RedrivePlan, by: string, reason: string | null): Promise<RedriveProgress> {
    const jobs = (await this.#all()).filter(({ endedMs }) => endedMs === null)
    if (jobs.some((job) => job.plan.consumer === plan.consumer)) throw runsAlready(plan)
    if (jobs.length >= LIMITS.redriveJobsMax)
      throw new MillraceError('BACKPRESSURE', `${jobs.length} redrives run, which is the limit: try again later`, {
        jobsMax: LIMITS.redriveJobsMax,
      })
    const order: RedriveOrder = { id: randomUUID(), plan, by, reason, startedMs: this.#clock.now() }
    const first = initialState(order)
    this.#ordered.set(order.id, first)
    try {
      if (!(await this.#book.order(order))) throw runsAlready(plan)
    } catch (error) {
      this.#ordered.delete(order.id)
      throw error
    }
    await this.#ensureRunning()
    return progressOf(first)
  }

  /** The redrives of a consumer, the newest first. */
  async list(consumer: string): Promise<RedriveProgress[]> {
    const its = (await this.#all()).filter(({ plan }) => plan.consumer === consumer)
    return its.sort((a, b) => b.startedMs - a.startedMs).map(progressOf)
  }

  /** Resolves when it has ended, or after some seconds. Null: the consumer has no such redrive. */
  async stop(consumer: string, id: string, by: string): Promise<RedriveProgress | null> {
    const found = async (): Promise<RedriveProgress | undefined> =>
      (await this.list(consumer)).find((job) => job.id === id)
    let job = await found()
    if (job === undefined || job.endedMs !== null) return job ?? null
    await this.#book.stop(id, by)
    for (let left = SHOWN_MS / LOOK_MS; left > 0 && job?.endedMs === null; left--) {
      await new Promise<void>((resolve) => void this.#clock.after(LOOK_MS, resolve))
      job = await found()
    }
    return job ?? null
  }

  async #all(): Promise<RedriveState[]> {
    await this.#book.refresh()
    for (const id of this.#ordered.keys()) if (this.#book.states.has(id)) this.#ordered.delete(id)
    const stored = [...this.#book.states.values(), ...this.#ordered.values()]
    // What runs here is known better than what it stored last.
    return stored.map((state) => {
      const here = this.#jobs.get(state.id)?.job.state
      return here !== undefined && here.runs >= state.runs && state.endedMs === null ? here : state
    })
  }

  async #tend(): Promise<void> {
    try {
      if (this.#running === null && (await this.#book.hasQueue())) await this.#ensureRunning()
    } catch (error) {
      if (!isMillraceError(error)) this.#host.report(error)
    }
  }

  #ensureRunning(): Promise<void> {
    const starting = this.#starting
      .catch(() => undefined)
      .then(async () => {
        if (this.#running !== null || this.#closing.signal.aborted) return
        const options = { concurrency: LIMITS.redriveJobsMax, retry: { attempts: 1000, max: '1m' }, drain: 0 } as const
        const runner = textConsumer(
          REDRIVE_RUNNER,
          [redriveQueue.name],
          // A job may take days: that is no stall.
          { ...options, onDead: 'skip', stall: '3650d' },
          (delivery, ctx) => this.#handle(delivery, ctx),
        )
        this.#running = await this.#host.broker.start(runner)
      })
    this.#starting = starting
    return starting
  }

  async #handle(delivery: Delivery, ctx: HandlerContext): Promise<void> {
    const order = orderIn(decodeEvent(delivery.text, delivery.offset).data)
    if (order === null) return ctx.reject('this version of Millrace cannot read this redrive')
    const job = new RedriveJob(await this.#book.take(order), this.#jobHost(), ctx.signal)
    const done = job.run()
    this.#jobs.set(order.id, { job, done })
    try {
      await done
    } finally {
      this.#jobs.delete(order.id)
    }
    // The job is not done: another process continues with it. That is no attempt.
    if (ctx.signal.aborted) throw new Released()
  }

  #jobHost(): RedriveHost {
    return {
      clock: this.#clock,
      consumers: this.#host.core.engine.consumers,
      prints: (letters) => fingerprintsOf(this.#host.core.engine, letters),
      save: (state) => this.#book.save(state),
      stopAsked: (id) => this.#stopAsked(id),
    }
  }

  async #stopAsked(id: string): Promise<boolean> {
    const nowMs = this.#clock.elapsed()
    if (nowMs - this.#refreshedMs >= REFRESH_MS) {
      this.#refreshedMs = nowMs
      await this.#book.refresh()
    }
    return this.#book.isStopped(id)
  }

  get #clock(): GatewayHost['core']['engine']['clock'] {
    return this.#host.core.engine.clock
  }
}
