/**
 * Redrives against a model: random letters, and processes that die or hang at any call. No letter is redriven twice for
 * one death, none is forgotten, the order of keys is kept, and the counts at the end are right.
 */
import { describe, expect, test } from 'vitest'
import { MillraceError } from '../../src/base/errors.ts'
import { LIMITS } from '../../src/base/limits.ts'
import type { DeadLetter, DeadLetterQuery, EventPlace } from '../../src/broker/description.ts'
import { fingerprintOf } from '../../src/gateway/letters/fingerprint.ts'
import { type RedriveHost, RedriveJob, RedriveTaken } from '../../src/gateway/letters/redrive-job.ts'
import { initialState, type RedrivePlan, type RedriveState } from '../../src/gateway/letters/redrive-state.ts'

const SEEDS = Number(process.env['MILLRACE_SEEDS'] ?? 60)
const FIRST_SEED = Number(process.env['MILLRACE_SEED'] ?? 1)

/** A process that dies looks to its own code as if every call failed from now on. */
class Crash extends MillraceError {
  constructor() {
    super('UNAVAILABLE', 'this process died')
  }
}

interface Letter {
  readonly channel: string
  readonly offset: number
  readonly key: string
  readonly own: boolean
  state: 'dead' | 'live' | 'done' | 'dropped'
  deadAtMs: number
  failure: DeadLetter['failure']
  /** How often it was given back, by the time of the death. */
  readonly given: Map<number, number>
}

const failureOf = (name: string): DeadLetter['failure'] => ({ name, message: 'no', kind: 'error' })
const FINGERPRINT = fingerprintOf(failureOf('TypeError')).fingerprint

function randomOf(seed: number): () => number {
  let state = seed * 2_654_435_761
  return () => {
    state = (Math.imul(state ^ (state >>> 15), 2_246_822_519) + 0x9e3779b9) | 0
    return ((state ^ (state >>> 13)) >>> 0) / 2 ** 32
  }
}

/** A consumer with dead letters, and a broker that may die at any call. */
class World {
  readonly letters: Letter[] = []
  readonly #byPlace = new Map<string, Letter>()
  readonly order: Letter[] = []
  nowMs = 1_000_000
  stored: RedriveState
  /** Who runs the job. */
  runner = ''
  stop = false
  largestPage = 0
  largestState = 0
  #crashes: number
  readonly #random: () => number
  readonly #fails: (letter: Letter) => string | null

  constructor(plan: RedrivePlan, count: number, crashes: number, random: () => number, fails: World['fails']) {
    this.#random = random
    this.#crashes = crashes
    this.#fails = fails
    for (let offset = 0; offset < count; offset++) {
      const own = random() < 0.8
      this.letters.push({
        channel: random() < 0.5 ? 'a' : 'b',
        offset,
        key: `k${Math.floor(random() * 4)}`,
        own,
        state: 'dead',
        deadAtMs: 900_000 + Math.floor(random() * 1000),
        failure: failureOf(own ? 'TypeError' : 'RangeError'),
        given: new Map(),
      })
    }
    this.index()
    this.letters.sort((a, b) => (a.channel === b.channel ? a.offset - b.offset : a.channel < b.channel ? -1 : 1))
    this.stored = initialState({ id: 'job', plan, by: 'test', reason: null, startedMs: this.nowMs })
  }

  index(): void {
    for (const letter of this.letters) this.#byPlace.set(`${letter.channel}/${letter.offset}`, letter)
  }

  get fails(): (letter: Letter) => string | null {
    return this.#fails
  }

  /** A process may die before or after any effect. */
  async #call<T>(effect: () => T): Promise<T> {
    await Promise.resolve()
    const dies = this.#crashes > 0 && this.#random() < 0.05
    if (dies) this.#crashes--
    if (dies && this.#random() < 0.5) throw new Crash()
    const result = effect()
    if (dies) throw new Crash()
    return result
  }

  host(): RedriveHost {
    return {
      clock: {
        now: () => this.nowMs,
        elapsed: () => this.nowMs,
        after: (ms, task) => {
          const timer = setImmediate(() => {
            this.nowMs += Math.max(1, ms)
            this.#handle()
            task()
          })
          return () => clearImmediate(timer)
        },
      },
      consumers: {
        deadLetters: (_, query) => this.#call(() => this.#list(query)),
        redrive: (_, query) => this.#call(() => this.#change(query, 'live')),
        dropDeadLetters: (_, query) => this.#call(() => this.#change(query, 'dropped')),
        pending: (_, places) => this.#call(() => places.filter((place) => this.#at(place)?.state === 'live')),
      },
      prints: async (letters) => letters.map(({ failure }) => fingerprintOf(failure)),
      save: (state) =>
        this.#call(() => {
          this.largestState = Math.max(this.largestState, state.open.length + state.giving.length)
          if (state.runner === this.runner) this.stored = structuredClone(state)
        }).then(() => {
          if (state.runner !== this.runner) throw new RedriveTaken()
        }),
      stopAsked: async () => this.stop,
    }
  }

  take(): RedriveState {
    const runs = this.stored.runs + 1
    this.runner = `runner ${runs} ${this.#random()}`
    return { ...this.stored, runner: this.runner, runs }
  }

  #at({ channel, offset }: EventPlace): Letter | undefined {
    return this.#byPlace.get(`${channel}/${offset}`)
  }

  #list({ after, limit = 1000, places }: DeadLetterQuery): DeadLetter[] {
    const isAfter = ({ channel, offset }: Letter): boolean =>
      after === null ||
      after === undefined ||
      channel > after.channel ||
      (channel === after.channel && offset > after.offset)
    const names = new Set(places?.map(({ channel, offset }) => `${channel}/${offset}`))
    const named = ({ channel, offset }: Letter): boolean => names.has(`${channel}/${offset}`)
    // A page may be shorter than its limit.
    const most = Math.max(1, Math.ceil(Math.min(limit, LIMITS.redrivePageMax) * this.#random()))
    const among = places === undefined ? this.letters : this.letters.filter(named)
    const page: Letter[] = []
    for (const letter of among) if (page.length < most && letter.state === 'dead' && isAfter(letter)) page.push(letter)
    this.largestPage = Math.max(this.largestPage, page.length)
    return page.map((letter) => ({
      ...letter,
      consumer: 'mailer',
      id: String(letter.offset),
      type: 'mail',
      text: '{}',
      attempts: 1,
      waiting: 0,
    }))
  }

  #change({ places = [] }: DeadLetterQuery, state: 'live' | 'dropped'): number {
    let count = 0
    for (const place of places) {
      const letter = this.#at(place)
      if (letter?.state !== 'dead' || (place.deadAtMs ?? letter.deadAtMs) !== letter.deadAtMs) continue
      letter.state = state
      letter.given.set(letter.deadAtMs, (letter.given.get(letter.deadAtMs) ?? 0) + 1)
      this.order.push(letter)
      count++
    }
    return count
  }

  /** The consumer works on some of what it was given back. */
  #handle(): void {
    for (const letter of this.letters) {
      if (letter.state !== 'live' || this.#random() < 0.5) continue
      const failure = this.#fails(letter)
      letter.state = failure === null ? 'done' : 'dead'
      if (failure === null) continue
      letter.deadAtMs = this.nowMs
      letter.failure = failureOf(failure)
    }
  }
}

/** Run the job in one process after the other until it has ended. Some of them only hang, and go on later. */
async function runToEnd(world: World, random: () => number): Promise<void> {
  const zombies: Promise<void>[] = []
  for (let left = 200; world.stored.endedMs === null; left--) {
    if (left === 0) throw new Error('the job does not end')
    const taken = new AbortController()
    const run = new RedriveJob(world.take(), world.host(), taken.signal).run().catch((error: unknown) => {
      if (!(error instanceof Crash)) throw error
    })
    const hangs = random() < 0.2
    if (hangs) {
      await new Promise((later) => setImmediate(later))
      zombies.push(run)
      setTimeout(() => taken.abort(), 2)
    } else await run
  }
  await Promise.all(zombies)
}

const plan: RedrivePlan = {
  consumer: 'mailer',
  action: 'redrive',
  fingerprint: FINGERPRINT,
  channel: null,
  key: null,
  perSecond: 7,
  canary: true,
}

function checkOnce(world: World): void {
  for (const letter of world.letters)
    for (const [death, times] of letter.given) expect(times, `${letter.channel}/${letter.offset} ${death}`).toBe(1)
  const last = new Map<string, number>()
  for (const { channel, key, offset } of world.order) {
    const before = last.get(`${channel} ${key}`) ?? -1
    expect(offset, `the order of key ${key} in ${channel}`).toBeGreaterThan(before)
    last.set(`${channel} ${key}`, offset)
  }
}

describe('a redrive', () => {
  test('whatever dies, redrives each letter once and ends with the right counts', { timeout: 60_000 }, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      const random = randomOf(seed)
      // Some come back with another error: these do not stop it.
      const world = new World(plan, Math.floor(random() * 120), 12, random, ({ offset }) =>
        offset % 11 === 3 ? 'OtherError' : null,
      )
      const own = world.letters.filter((letter) => letter.own)
      await runToEnd(world, random)
      const context = `seed ${seed}`
      const { phase, total, redriven, done, back, open } = world.stored
      expect({ phase, total, redriven, open: open.length }, context).toEqual({
        phase: 'done',
        total: own.length,
        redriven: own.length,
        open: 0,
      })
      expect(back, context).toBe(own.filter(({ state }) => state === 'dead').length)
      expect(done, context).toBe(own.filter(({ state }) => state === 'done').length)
      expect(
        world.order.every((letter) => letter.own),
        context,
      ).toBe(true)
      checkOnce(world)
    }
  })

  test('stops when the error comes back, and leaves the rest as it was', { timeout: 60_000 }, async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) {
      const random = randomOf(seed)
      const bad = Math.floor(random() * 60)
      const world = new World(plan, 120, 12, random, ({ offset }) => (offset === bad ? 'TypeError' : null))
      const before = structuredClone(world.letters)
      const comes = before.some(({ offset, own }) => offset === bad && own)
      await runToEnd(world, random)
      const context = `seed ${seed}`
      expect(world.stored.phase, context).toBe(comes ? 'returned' : 'done')
      if (comes) expect(world.stored.returns, context).toMatchObject([{ offset: bad, name: 'TypeError' }])
      for (const [at, letter] of world.letters.entries())
        if (letter.given.size === 0) expect(letter, context).toEqual(before[at])
      checkOnce(world)
    }
  })

  test('drops many, each once', async () => {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + 30; seed++) {
      const random = randomOf(seed)
      const world = new World({ ...plan, action: 'drop' }, 100, 12, random, () => null)
      await runToEnd(world, random)
      const own = world.letters.filter((letter) => letter.own)
      expect(own.every(({ state }) => state === 'dropped')).toBe(true)
      expect(world.letters.every(({ own: its, state }) => its || state === 'dead')).toBe(true)
      expect(world.stored).toMatchObject({ phase: 'done', total: own.length, done: own.length })
      checkOnce(world)
    }
  })

  test('of many letters keeps few in memory', { timeout: 60_000 }, async () => {
    const world = new World({ ...plan, perSecond: 1000, canary: false }, 0, 0, Math.random, () => null)
    for (let offset = 0; offset < 6000; offset++)
      world.letters.push({
        ...{ channel: 'a', offset, key: 'k', own: true, state: 'dead', deadAtMs: 1 },
        ...{ failure: failureOf('TypeError'), given: new Map() },
      })
    world.index()
    await runToEnd(world, () => 1)
    expect(world.stored).toMatchObject({ phase: 'done', done: 6000, total: 6000 })
    expect(world.largestPage).toBeLessThanOrEqual(LIMITS.redrivePageMax)
    expect(world.largestState).toBeLessThanOrEqual(2 * LIMITS.redriveOpenMax)
  })
})
