/**
 * The durable copy: each slot is an event of `$metrics.day` or `$metrics.month`, which keep them for as long as the
 * timelines have slots. So it is as durable as the events, wherever these are, and it is the same for all processes.
 *
 * The id of the event is the slot. Processes that record the same slot store it once.
 */
import { isMillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { namedMessageOf } from '../base/thrown.ts'
import type { BrokerCore } from '../broker/engine-of.ts'
import { type Stream, stream } from '../channel/channel.ts'
import { type Row, STEPS, type StepName } from './figures.ts'
import { readSlot, savedSlot } from './saved-slot.ts'

const HOUR_MS = 3_600_000

function channelOf(step: StepName): Stream {
  const { stepMs, slots } = STEPS[step]
  return stream(`$metrics.${step}`, { retain: { age: slots * stepMs + HOUR_MS }, dedupe: { age: '10m', count: 100 } })
}

export const METRICS_CHANNELS: Readonly<Record<StepName, Stream>> = { day: channelOf('day'), month: channelOf('month') }

export class SavedSlots {
  readonly #core: BrokerCore
  /** The offset after the last one that was read. */
  readonly #next: Record<StepName, number> = { day: 0, month: 0 }
  readonly #unsaved: { readonly step: StepName; readonly slot: number; readonly rows: readonly Row[] }[] = []
  #failing = false

  constructor(core: BrokerCore) {
    this.#core = core
  }

  /** Read from the beginning, next time. */
  again(): void {
    this.#next.day = 0
    this.#next.month = 0
  }

  /** The slots that were saved since the last call, by any process. Those that cannot be read are left out. */
  async *read(step: StepName): AsyncGenerator<{ readonly slot: number; readonly rows: readonly Row[] }> {
    const { name } = METRICS_CHANNELS[step]
    const reading = new AbortController()
    try {
      const range = { from: { offset: this.#next[step] }, to: null, follow: false, signal: reading.signal }
      for await (const batch of this.#core.engine.read(name, range)) {
        for (const { text, offset } of batch) {
          this.#next[step] = offset + 1
          const slot = slotIn(text)
          if (slot === null) this.#unreadable(name, offset)
          else yield slot
        }
      }
    } catch (error) {
      // Nothing was saved yet, or this account may not read it.
      if (isMillraceError(error, 'UNKNOWN_CHANNEL') || isMillraceError(error, 'FORBIDDEN')) return
      if (!isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
      const { first, next } = await this.#core.engine.bounds(name)
      this.#next[step] = this.#next[step] > next ? 0 : Math.max(first, this.#next[step])
    } finally {
      reading.abort()
    }
  }

  #unreadable(channel: string, offset: number): void {
    this.#core.log.repeated('warn', 'metrics history', () => [
      'a saved slot of the metrics history cannot be read: it is left out',
      { channel, offset },
    ])
  }

  /** Save a slot, and those that could not be saved before. */
  async save(step: StepName, slot: number, rows: readonly Row[]): Promise<void> {
    this.#unsaved.push({ step, slot, rows })
    if (this.#unsaved.length > LIMITS.historyUnsavedMax) this.#unsaved.shift()
    try {
      for (let first = this.#unsaved[0]; first !== undefined; first = this.#unsaved[0]) {
        await this.#publish(first.step, first.slot, first.rows)
        this.#unsaved.shift()
      }
      this.#failing = false
    } catch (error) {
      this.#failed(error)
    }
  }

  #failed(error: unknown): void {
    if (this.#failing || isMillraceError(error, 'CLOSED')) return
    this.#failing = true
    this.#core.log.write('warn', 'the metrics history cannot be saved, and is kept in memory only until it can', {
      error: namedMessageOf(error),
    })
  }

  async #publish(step: StepName, slot: number, rows: readonly Row[]): Promise<void> {
    const { engine, encoder } = this.#core
    const channel = METRICS_CHANNELS[step]
    await encoder.prepare(channel)
    const event = { id: `${step}-${slot}`, type: `millrace.metrics.${step}`, source: '/millrace/metrics' }
    const encoded = await encoder.encode(channel.name, { ...event, data: savedSlot(slot, rows) })
    await engine.publish(channel.name, encoded, null)
  }
}

function slotIn(text: string): ReturnType<typeof readSlot> {
  try {
    return readSlot((JSON.parse(text) as { readonly data?: unknown }).data)
  } catch {
    return null
  }
}
