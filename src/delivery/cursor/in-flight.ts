/**
 * Clause 5: what was in handlers' hands when a process died.
 *
 * Deliveries that are not settled within some milliseconds are recorded with the next commit, in one record a cursor, so a
 * crash knows its suspects without a write an event. After a crash every suspect runs alone, and that is recorded before it runs: an event
 * that kills its worker is proven to by the second crash at the latest, and innocents are never blamed with it.
 * As the record is some milliseconds late, as many events after the floor as could have been in flight are suspects too.
 */

import type { Clock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { InFlightRecord } from '../consumer-records.ts'

export interface InFlightHost {
  /** Offsets in hands now, and how many could be. */
  held(): { readonly credit: number; readonly offsets: number[] }
  save(record: InFlightRecord): void
  /** Run a task when a span of the engine's time has passed. */
  readonly after: Clock['after']
  /** The suspect that ran alone is settled, or does not run any more. */
  aloneDone(offset: number): void
}

export class InFlight {
  readonly #host: InFlightHost
  #armed = false
  #saved = ''
  /** The suspect that runs alone now. */
  #alone: number | null = null

  constructor(host: InFlightHost) {
    this.#host = host
  }

  get alone(): number | null {
    return this.#alone
  }

  /** From now on a suspect runs alone, and the record says so. */
  beginAlone(offset: number): void {
    this.#alone = offset
    this.save()
  }

  /** These are settled, or do not run any more: if one of them ran alone, the next suspect may. */
  endAlone(from: number, end: number = from + 1): void {
    const alone = this.#alone
    if (alone === null || alone < from || alone >= end) return
    this.#alone = null
    this.#host.aloneDone(alone)
  }

  /** Something was handed out. */
  arm(): void {
    if (this.#armed) return
    this.#armed = true
    this.#host.after(LIMITS.inFlightRecordMs, () => {
      this.#armed = false
      this.save()
    })
  }

  save(): void {
    const { credit, offsets } = this.#host.held()
    if (this.#alone !== null && !offsets.includes(this.#alone)) offsets.push(this.#alone)
    const record: InFlightRecord = { credit, offsets, solo: this.#alone }
    const text = JSON.stringify(record)
    if (text === this.#saved) return
    this.#saved = text
    this.#host.save(record)
  }
}
