/**
 * Records the metrics history of a broker while its process runs: after each slot it describes the broker, records the
 * slot in memory, and saves it. It takes no part in publishing or delivering.
 *
 * A slot that another process has saved already is taken from there. When the clock goes back a little, nothing is
 * recorded until it has passed the newest slot; when it goes back far, the slots after it are forgotten. When it goes
 * forward far (a machine that starts without the time), saved slots that seemed to be of the future are read again.
 */
import { isMillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { namedMessageOf } from '../base/thrown.ts'
import type { BrokerCore } from '../broker/engine-of.ts'
import { STEPS, type StepName } from './figures.ts'
import { MetricsHistory } from './metrics-history.ts'
import { Sampler } from './sampler.ts'
import { SavedSlots } from './saved-slots.ts'

/** Slots of the day: a clock that jumps by more has gone far. Five minutes. */
const FAR = 30
/** Processes describe the broker one after another in this time, so that most find the slot saved. */
const SPREAD_MS = 2000
const { day: DAY, month: MONTH } = STEPS
const PER_MONTH_SLOT: number = MONTH.stepMs / DAY.stepMs

export class HistoryRecorder {
  readonly history: MetricsHistory
  readonly #core: BrokerCore
  readonly #saved: SavedSlots | null
  readonly #sampler = new Sampler()
  /** When the sampler last had a description, by `Clock.elapsed`. */
  #sampledMs: number | null = null
  #cancel: () => void = () => undefined
  /** The slot of the last look at the clock. */
  #slot = Number.POSITIVE_INFINITY
  /** Saved slots were left out, because they were of the future. */
  #skipped = false
  #working: Promise<void> = Promise.resolve()
  #closed = false

  constructor(core: BrokerCore, objectsMax: number = LIMITS.historyObjectsMax) {
    this.#core = core
    this.history = new MetricsHistory(objectsMax)
    // What a broker in memory saves ends with it.
    this.#saved = core.engine.name === 'memory' ? null : new SavedSlots(core)
  }

  /** Resolves when the slots that were saved before are read. */
  get loaded(): Promise<void> {
    return this.#working
  }

  start(): void {
    this.#slot = this.#slotNow()
    this.#working = this.#quietly(async () => {
      for (const step of ['month', 'day'] as const) await this.#take(step)
      this.#sampler.rows(await this.#core.engine.describe(), DAY.stepMs, 1)
      this.#sampledMs = this.#core.engine.clock.elapsed()
    }).then(() => this.#later())
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancel()
    await this.#working
  }

  #later(): void {
    if (this.#closed) return
    const { clock } = this.#core.engine
    const inSlotMs = clock.now() % DAY.stepMs
    const spreadMs = this.#saved === null ? 0 : this.#core.random() * SPREAD_MS
    this.#cancel = clock.after(DAY.stepMs - inSlotMs + spreadMs, () => {
      this.#working = this.#quietly(() => this.#tick()).then(() => this.#later())
    })
  }

  /** The history is no reason to fail: it has a gap, and the log says why. */
  async #quietly(work: () => Promise<void>): Promise<void> {
    try {
      if (!this.#core.closed) await work()
    } catch (error) {
      if (isMillraceError(error, 'CLOSED')) return
      this.#core.log.repeated('warn', 'metrics history', () => [
        'the metrics history has a gap: the broker cannot be described',
        { error: namedMessageOf(error) },
      ])
    }
  }

  async #tick(): Promise<void> {
    const slot = this.#slotNow()
    const { history } = this
    if (slot < history.newest('day') - FAR) {
      history.cut('day', slot)
      history.cut('month', Math.floor(slot / PER_MONTH_SLOT))
    }
    const before = this.#slot
    this.#slot = slot
    if (this.#skipped && slot > before + FAR) {
      this.#skipped = false
      this.#saved?.again()
      await this.#take('month')
    }
    await this.#take('day')
    if (slot > history.newest('day')) await this.#record(slot)
    await this.#join(slot)
  }

  /** The newest slot that is over. */
  #slotNow(): number {
    return Math.floor(this.#core.engine.clock.now() / DAY.stepMs) - 1
  }

  async #record(slot: number): Promise<void> {
    const { engine } = this.#core
    const description = await engine.describe()
    const nowMs = engine.clock.elapsed()
    const share = this.#sampledMs === null ? 1 : Math.min(1, DAY.stepMs / (nowMs - this.#sampledMs))
    this.#sampledMs = nowMs
    const rows = this.#sampler.rows(description, DAY.stepMs, share)
    this.history.record('day', slot, rows)
    await this.#saved?.save('day', slot, rows)
  }

  /** Make the slots of the month that have ended. */
  async #join(slot: number): Promise<void> {
    const { history } = this
    const oldest = Math.floor((slot - DAY.slots) / PER_MONTH_SLOT)
    const last = Math.floor((slot + 1) / PER_MONTH_SLOT) - 1
    for (let month = Math.max(history.newest('month') + 1, oldest); month <= last; month++) {
      const rows = history.joined(month)
      if (rows === null) continue
      history.record('month', month, rows)
      await this.#saved?.save('month', month, rows)
    }
  }

  /** Read what was saved since the last time. Slots from the future were recorded while the clock was wrong. */
  async #take(step: StepName): Promise<void> {
    if (this.#saved === null) return
    const now = Math.floor(this.#core.engine.clock.now() / STEPS[step].stepMs)
    for await (const { slot, rows } of this.#saved.read(step)) {
      if (slot > now) this.#skipped = true
      else if (!this.#closed) this.history.record(step, slot, rows)
    }
  }
}
