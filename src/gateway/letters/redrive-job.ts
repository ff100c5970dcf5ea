/**
 * Runs one redrive: it counts the letters of the plan, gives one back, then ten, then so many a second (`#steps`).
 *
 * It stops in three cases: a letter comes back with the error that the redrive is for (`#judge`, `#endReturned`);
 * nothing that was given back is settled for `redriveObserveMs` (`#settled`); or somebody asks for it (`#stopped`).
 *
 * Letters are taken page by page, in the order of their offsets in each channel, so the order of each key is kept, and
 * memory does not grow with their number.
 *
 * A process can die at any moment. So the letters of a step are stored before they are given back. After a crash the
 * same deaths are redriven again, which changes nothing for those that were: a letter that was given back and died
 * again has another time of death. So no letter is redriven twice for one death, also if two processes run the job for
 * a moment.
 */
import type { Clock } from '../../base/clock.ts'
import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Consumers } from '../../broker/consumers.ts'
import type { DeadLetter, DeadLetterQuery, EventPlace } from '../../broker/description.ts'
import type { Fingerprint } from './fingerprint.ts'
import type { Death, RedrivePhase, RedriveState, Return } from './redrive-state.ts'

export interface RedriveHost {
  readonly clock: Pick<Clock, 'now' | 'elapsed' | 'after'>
  readonly consumers: Pick<Consumers, 'deadLetters' | 'redrive' | 'dropDeadLetters' | 'pending'>
  /** The fingerprints of letters, in their order. */
  prints(letters: readonly DeadLetter[]): Promise<readonly Fingerprint[]>
  /**
   * Resolves when the state is durable, and this process still runs the job. @throws RedriveTaken if another one took
   * it
   */
  save(state: RedriveState): Promise<void>
  /** Whether somebody asked to stop the job, in any process. */
  stopAsked(id: string): Promise<boolean>
}

const LOOK_MS = 200
const STUCK =
  'letters that were given back are neither done nor dead again: they are tried again, or wait behind others'
/** How many letters are given back until the end of each careful step. */
const STEPS = [
  ['one', 1],
  ['ten', 11],
] as const

/** This process no longer runs the job. */
export class RedriveTaken extends Error {}

export class RedriveJob {
  #state: RedriveState
  readonly #host: RedriveHost
  /** Aborts when this process no longer runs the job. Then nothing more is stored. */
  readonly #signal: AbortSignal
  /** Letters of the plan that were read and not given back yet. */
  #ahead: Death[] = []
  /** The last letter that was read. */
  #read: EventPlace | null
  #savedMs = 0
  #changed = true

  constructor(state: RedriveState, host: RedriveHost, signal: AbortSignal) {
    this.#state = state
    this.#host = host
    this.#signal = signal
    this.#read = state.after
  }

  get state(): RedriveState {
    return this.#state
  }

  /**
   * Resolves when the job has ended, or this process no longer runs it. @throws what the broker throws, if it may be
   * tried again
   */
  async run(): Promise<void> {
    if (this.#state.endedMs !== null) return
    try {
      await this.#save()
      await this.#steps()
    } catch (error) {
      if (error instanceof RedriveTaken || this.#signal.aborted) return
      if (isMillraceError(error) && (error.retryable || error.code === 'CLOSED')) throw error
      await this.#end('failed', error instanceof Error ? error.message : String(error))
    }
  }

  async #steps(): Promise<void> {
    if (this.#state.phase === 'returned') return this.#endReturned()
    if (this.#state.untilMs === null && !(await this.#count())) return
    await this.#give()
    if (this.#state.plan.action === 'drop') return this.#dropAll()
    if (this.#state.plan.canary) {
      const { phase: reached } = this.#state
      const first = STEPS.findIndex(([phase]) => phase === reached)
      for (const [phase, target] of reached === 'all' ? [] : STEPS.slice(Math.max(0, first))) {
        this.#set({ phase })
        await this.#take(target - this.#state.redriven)
        if (!(await this.#settled())) return
      }
    }
    if (this.#state.phase !== 'all') this.#set({ phase: 'all' })
    if ((await this.#rest()) && (await this.#settled())) await this.#end('done', null)
  }

  /** Count the letters of the plan. Returns false if the job was stopped. */
  async #count(): Promise<boolean> {
    this.#set({ phase: 'counting', total: 0 })
    let untilMs = this.#state.startedMs
    for (let after: EventPlace | null = null; ; ) {
      const page = await this.#page(after)
      const last = page.at(-1)
      if (last === undefined) break
      after = { channel: last.channel, offset: last.offset }
      const its = await this.#matching(page)
      this.#set({ total: this.#state.total + its.length })
      untilMs = its.reduce((latest, { deadAtMs }) => Math.max(latest, deadAtMs), untilMs)
      if (await this.#stopped()) return false
      await this.#saveNowAndThen()
    }
    this.#set({ untilMs })
    return true
  }

  /** Give back the rest, so many a second. Returns false if the job ended. */
  async #rest(): Promise<boolean> {
    const { perSecond } = this.#state.plan
    for (;;) {
      const sinceMs = this.#host.clock.elapsed()
      const room = LIMITS.redriveOpenMax - this.#state.open.length
      const more = await this.#take(Math.min(perSecond, room))
      if (!more) return true
      if (room === 0) {
        if (!(await this.#settled(LIMITS.redriveOpenMax - 1))) return false
        continue
      }
      const passedMs = this.#host.clock.elapsed() - sinceMs
      if (passedMs < 1000) await this.#pause(1000 - passedMs)
      await this.#judge()
      if ((await this.#returned()) || (await this.#stopped())) return false
    }
  }

  async #dropAll(): Promise<void> {
    while (await this.#take(LIMITS.redrivePageMax)) if (await this.#stopped()) return
    await this.#end('done', null)
  }

  /** Take up to so many letters of the plan. Returns false if there are no more. */
  async #take(count: number): Promise<boolean> {
    if (count <= 0) return true
    while (this.#ahead.length < count) if (!(await this.#readAhead())) break
    const giving = this.#ahead.splice(0, count)
    const last = giving.at(-1)
    if (last === undefined) return false
    this.#set({ giving, after: { channel: last.channel, offset: last.offset } })
    // What is in a step is durable before the step: a crash must not make it unknown what was given back.
    await this.#save()
    await this.#give()
    return true
  }

  /** Do the step that is stored. It may be one that a process began before it died. */
  async #give(): Promise<void> {
    const { giving, open, redriven, done, plan } = this.#state
    if (giving.length === 0) return
    const { consumers } = this.#host
    this.#check()
    if (plan.action === 'drop') {
      await consumers.dropDeadLetters(plan.consumer, { places: giving })
      return this.#set({ giving: [], redriven: redriven + giving.length, done: done + giving.length })
    }
    await consumers.redrive(plan.consumer, { places: giving })
    this.#set({ giving: [], redriven: redriven + giving.length, open: [...open, ...giving] })
  }

  /** Returns false if there are no more letters. */
  async #readAhead(): Promise<boolean> {
    const page = await this.#page(this.#read)
    const last = page.at(-1)
    if (last === undefined) return false
    this.#read = { channel: last.channel, offset: last.offset }
    const untilMs = this.#state.untilMs ?? 0
    for (const letter of await this.#matching(page))
      if (letter.deadAtMs <= untilMs)
        this.#ahead.push({ channel: letter.channel, offset: letter.offset, deadAtMs: letter.deadAtMs })
    return true
  }

  #page(after: EventPlace | null): Promise<DeadLetter[]> {
    const { channel, key } = this.#state.plan
    return this.#list({
      ...(channel !== null && { channel }),
      ...(key !== null && { key }),
      after,
      limit: LIMITS.redrivePageMax,
    })
  }

  #list(query: DeadLetterQuery): Promise<DeadLetter[]> {
    this.#check()
    return this.#host.consumers.deadLetters(this.#state.plan.consumer, query)
  }

  /** The letters of the plan's failure. */
  async #matching(page: readonly DeadLetter[]): Promise<readonly DeadLetter[]> {
    const { fingerprint } = this.#state.plan
    if (fingerprint === null) return page
    const prints = await this.#host.prints(page)
    return page.filter((_, at) => prints[at]?.fingerprint === fingerprint)
  }

  /**
   * Wait until no more than `openMax` of the letters that were given back are unsettled. Returns false if the job
   * ended: a letter came back, nothing was settled for a time, or somebody stopped it.
   */
  async #settled(openMax = 0): Promise<boolean> {
    const { clock } = this.#host
    for (let sinceMs = clock.elapsed(); ; ) {
      const before = this.#state.open.length
      await this.#judge()
      if ((await this.#returned()) || (await this.#stopped())) return false
      if (this.#state.open.length <= openMax) return true
      if (this.#state.open.length < before) sinceMs = clock.elapsed()
      else if (clock.elapsed() - sinceMs > LIMITS.redriveObserveMs) {
        await this.#end('stopped', STUCK)
        return false
      }
      await this.#saveNowAndThen()
      await this.#pause(LOOK_MS)
    }
  }

  /** Find out which of the letters that were given back are done, and which are dead again. */
  async #judge(): Promise<void> {
    const { open, plan } = this.#state
    if (open.length === 0) return
    this.#check()
    // In this order: a letter that dies between the two calls is still pending in the first.
    const pending = new Set((await this.#host.consumers.pending(plan.consumer, open)).map(nameOf))
    const settled = open.filter((each) => !pending.has(nameOf(each)))
    if (settled.length === 0) return
    const returns = await this.#deadAgain(settled)
    const { done, back } = this.#state
    const same = returns.find(({ fingerprint }) => plan.fingerprint === null || fingerprint === plan.fingerprint)
    this.#set({
      ...(same !== undefined && { phase: 'returned', problem: `the error came back: ${same.name}: ${same.message}` }),
      open: open.filter((each) => pending.has(nameOf(each))),
      done: done + settled.length - returns.length,
      back: back + returns.length,
      returns: [...this.#state.returns, ...returns].slice(0, LIMITS.redriveReturnsMax),
    })
    if (returns.length > 0) await this.#save()
  }

  async #deadAgain(settled: readonly Death[]): Promise<Return[]> {
    const places = settled.map(({ channel, offset }) => ({ channel, offset }))
    const returns: Return[] = []
    for (let after: EventPlace | null = null; ; ) {
      const page: DeadLetter[] = await this.#list({ places, after, limit: LIMITS.redrivePageMax })
      const last = page.at(-1)
      if (last === undefined) return returns
      after = { channel: last.channel, offset: last.offset }
      const prints = await this.#host.prints(page)
      for (const [at, { channel, offset, failure }] of page.entries())
        returns.push({
          ...{ channel, offset },
          fingerprint: prints[at]?.fingerprint ?? '',
          name: failure.name.slice(0, 100),
          message: failure.message.slice(0, 200),
        })
    }
  }

  /** Whether the error that the redrive is for came back. Then the job ends. */
  async #returned(): Promise<boolean> {
    if (this.#state.phase !== 'returned') return false
    await this.#endReturned()
    return true
  }

  /** Give no more back, and find out what becomes of the letters that are still open. */
  async #endReturned(): Promise<void> {
    const { clock } = this.#host
    for (let sinceMs = clock.elapsed(); this.#state.open.length > 0; ) {
      const before = this.#state.open.length
      await this.#judge()
      if (this.#state.open.length < before) sinceMs = clock.elapsed()
      else if (clock.elapsed() - sinceMs > LIMITS.redriveObserveMs || (await this.#asked())) break
      else await this.#pause(LOOK_MS)
    }
    await this.#end('returned', this.#state.problem)
  }

  /** Whether somebody stopped the job. Then it ends. */
  async #stopped(): Promise<boolean> {
    if (!(await this.#asked())) return false
    await this.#judge()
    await this.#end('stopped', null)
    return true
  }

  async #asked(): Promise<boolean> {
    this.#check()
    return this.#host.stopAsked(this.#state.id)
  }

  #check(): void {
    if (this.#signal.aborted) throw new RedriveTaken()
  }

  async #pause(ms: number): Promise<void> {
    this.#check()
    await new Promise<void>((resolve) => {
      const over = (): void => {
        cancel()
        this.#signal.removeEventListener('abort', over)
        resolve()
      }
      const cancel = this.#host.clock.after(ms, over)
      this.#signal.addEventListener('abort', over)
    })
    this.#check()
  }

  async #saveNowAndThen(): Promise<void> {
    const passedMs = this.#host.clock.elapsed() - this.#savedMs
    if (passedMs >= (this.#changed ? 1000 : LIMITS.redriveBeatMs)) await this.#save()
  }

  async #save(): Promise<void> {
    this.#check()
    this.#savedMs = this.#host.clock.elapsed()
    this.#set({ atMs: this.#host.clock.now() })
    await this.#host.save(this.#state)
    this.#changed = false
  }

  #set(changes: Partial<RedriveState>): void {
    this.#state = { ...this.#state, ...changes }
    this.#changed = true
  }

  async #end(phase: RedrivePhase, problem: string | null): Promise<void> {
    this.#set({ phase, problem, endedMs: this.#host.clock.now() })
    await this.#save()
  }
}

function nameOf({ channel, offset }: EventPlace): string {
  return `${channel}/${offset}`
}
