/**
 * A redrive that begins carefully: one dead letter, then ten, then a number of letters a second. It stops by itself
 * when a letter comes back with the error that the redrive is for. At the end it reports what became of all letters. It
 * runs in the gateway's process, and does not need the page that started it.
 *
 * Letters are redriven from the oldest to the newest, so the order of each key is kept.
 */
import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Consumers } from '../../broker/consumers.ts'
import type { DeadLetter, DeadLetterQuery, EventPlace } from '../../broker/description.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { fingerprintOf } from './fingerprint.ts'

export interface RedrivePlan {
  readonly consumer: string
  /** The failure whose letters are redriven; null for every failure. */
  readonly fingerprint: string | null
  readonly channel: string | null
  readonly key: string | null
  readonly perSecond: number
  /** False: the redrive begins with its full rate. */
  readonly canary: boolean
}

export interface RedriveProgress extends RedrivePlan {
  readonly id: string
  readonly startedMs: number
  readonly endedMs: number | null
  readonly phase: 'one' | 'ten' | 'all' | 'done' | 'stopped' | 'returned' | 'failed'
  /** How many letters were given back to the consumer. */
  readonly redriven: number
  /** How many of them are dead letters again. */
  readonly back: number
  /** How many letters of the plan are still to be redriven, as far as one list of letters shows. */
  readonly left: number
  readonly problem: string | null
}

type Host = Pick<GatewayHost, 'core'>

const LOOK_MS = 200
const STUCK = 'letters that were given back are neither done nor dead again: they are retried, or they wait'
const FINISHED: ReadonlySet<string> = new Set(['done', 'stopped', 'returned', 'failed'])

export class RedriveJob {
  readonly done: Promise<void>
  readonly #host: Host
  readonly #stopping = new AbortController()
  /** Letters that were redriven and are not known to be dead again, in the order of redriving. */
  readonly #out = new Map<string, EventPlace>()
  /** Letters that were redriven and are not known to be done or dead again, in the order of redriving. */
  readonly #open = new Map<string, EventPlace>()
  readonly #back = new Set<string>()
  #progress: RedriveProgress

  constructor(host: Host, id: string, plan: RedrivePlan) {
    this.#host = host
    this.#progress = {
      ...plan,
      id,
      startedMs: Date.now(),
      endedMs: null,
      phase: plan.canary ? 'one' : 'all',
      redriven: 0,
      back: 0,
      left: 0,
      problem: null,
    }
    this.done = this.#run().catch((error: Error) => this.#end('failed', error.message))
  }

  get progress(): RedriveProgress {
    return this.#progress
  }

  get running(): boolean {
    return !FINISHED.has(this.#progress.phase)
  }

  stop(): void {
    this.#stopping.abort()
  }

  async #run(): Promise<void> {
    const steps = this.#progress.canary ? [['one', 1] as const, ['ten', 10] as const] : []
    for (const [phase, size] of steps) {
      this.#set({ phase })
      if (!(await this.#step(size))) return this.#finish()
      if (!(await this.#settled())) return
    }
    this.#set({ phase: 'all' })
    for (;;) {
      const startedMs = performance.now()
      if (!(await this.#step(this.#progress.perSecond))) return this.#finish()
      if (!(await this.#pause(1000 - (performance.now() - startedMs))) || (await this.#returned())) return
    }
  }

  /** Redrive the next letters. Returns false if there are none, or if the job was stopped. */
  async #step(size: number): Promise<boolean> {
    const waiting = await this.#waiting()
    this.#set({ left: waiting.length })
    for (const { channel, offset } of waiting.slice(0, size)) {
      if (this.#stopping.signal.aborted) return false
      try {
        await this.#consumers.redrive(this.#progress.consumer, { channel, offset })
      } catch (error) {
        // The letter was redriven or dropped by someone else.
        if (!isMillraceError(error, 'UNKNOWN_DEAD_LETTER')) throw error
        continue
      }
      this.#out.set(`${channel}/${offset}`, { channel, offset })
      this.#open.set(`${channel}/${offset}`, { channel, offset })
      this.#set({ redriven: this.#progress.redriven + 1, left: Math.max(0, this.#progress.left - 1) })
    }
    return waiting.length > 0
  }

  /** Letters of the plan that this job has not redriven yet. */
  async #waiting(): Promise<DeadLetter[]> {
    const { channel, key, fingerprint } = this.#progress
    const query = { ...(channel !== null && { channel }), ...(key !== null && { key }), limit: LIMITS.redriveLookMax }
    const letters = await this.#list(query)
    return letters.filter(
      (letter) =>
        !this.#out.has(`${letter.channel}/${letter.offset}`) &&
        !this.#back.has(`${letter.channel}/${letter.offset}`) &&
        (fingerprint === null || fingerprintOf(letter.failure).fingerprint === fingerprint),
    )
  }

  /**
   * Whether the redriven letters are settled. Ends the job if one comes back, or if for a time none of them is settled.
   */
  async #settled(): Promise<boolean> {
    for (let untilMs = performance.now() + LIMITS.redriveObserveMs; ; ) {
      const before = this.#open.size
      if (!(await this.#pause(LOOK_MS))) return false
      await this.#look()
      // In this order: a letter that dies between the two calls is still pending in the first.
      if (await this.#returned()) return false
      if (this.#open.size === 0) return true
      if (this.#open.size < before) untilMs = performance.now() + LIMITS.redriveObserveMs
      else if (performance.now() > untilMs) {
        this.#end('stopped', STUCK)
        return false
      }
    }
  }

  /** Find out which of the redriven letters are settled now. Other events of the consumer do not count. */
  async #look(): Promise<void> {
    const looked = [...this.#open].slice(0, LIMITS.redriveLookMax)
    const pending = await this.#consumers.pending(
      this.#progress.consumer,
      looked.map(([, event]) => event),
    )
    const left = new Set(pending.map(({ channel, offset }) => `${channel}/${offset}`))
    for (const [place] of looked) if (!left.has(place)) this.#open.delete(place)
  }

  /** Count letters that are dead again. Ends the job if one has the failure that the redrive is for. */
  async #returned(): Promise<boolean> {
    const looked = [...this.#out].slice(-LIMITS.redriveWatchMax)
    for (const [key, query] of looked) {
      const [letter] = await this.#list({ ...query, limit: 1 })
      if (letter === undefined || letter.deadAtMs < this.#progress.startedMs) continue
      this.#out.delete(key)
      this.#back.add(key)
      this.#set({ back: this.#back.size })
      const { fingerprint } = this.#progress
      if (fingerprint !== null && fingerprintOf(letter.failure).fingerprint !== fingerprint) continue
      this.#end('returned', `the error came back: ${letter.failure.name}: ${letter.failure.message}`.slice(0, 500))
      return true
    }
    return false
  }

  async #finish(): Promise<void> {
    if (this.#stopping.signal.aborted) return this.#end('stopped', null)
    if (!(await this.#settled())) return
    // Letters that came back while others were watched.
    for (const { channel, offset, deadAtMs } of await this.#list({ limit: LIMITS.redriveLookMax }))
      if (this.#out.has(`${channel}/${offset}`) && deadAtMs >= this.#progress.startedMs)
        this.#back.add(`${channel}/${offset}`)
    this.#set({ back: this.#back.size })
    this.#end('done', null)
  }

  /** Wait. Returns false if the job was stopped meanwhile. */
  #pause(ms: number): Promise<boolean> {
    const { signal } = this.#stopping
    return new Promise((resolve) => {
      const over = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', over)
        if (signal.aborted) this.#end('stopped', null)
        resolve(!signal.aborted)
      }
      const timer = setTimeout(over, Math.max(0, ms))
      signal.addEventListener('abort', over)
      if (signal.aborted) over()
    })
  }

  get #consumers(): Consumers {
    return this.#host.core.engine.consumers
  }

  #list(query: DeadLetterQuery): Promise<DeadLetter[]> {
    return this.#consumers.deadLetters(this.#progress.consumer, query)
  }

  #set(changes: Partial<RedriveProgress>): void {
    this.#progress = { ...this.#progress, ...changes }
  }

  #end(phase: RedriveProgress['phase'], problem: string | null): void {
    if (this.running) this.#set({ phase, problem, endedMs: Date.now() })
  }
}
