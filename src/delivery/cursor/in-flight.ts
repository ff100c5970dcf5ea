/**
 * Clause 5: the record of a cursor's deliveries in flight. If the process dies, the next owner reads from it which
 * events may have killed the process: the suspects.
 *
 * Deliveries that are not settled within `LIMITS.inFlightRecordMs` are recorded with the next commit, in one record
 * for each cursor. So suspects are known without a write for each event. As the record is that much late, the next
 * owner also suspects as many unsettled events after the floor as could have been in flight.
 *
 * After a crash each suspect runs alone (`suspect-queue.ts`), and the record says so before it runs. An event that
 * kills its worker is proven to be the cause by the second crash at the latest, and no other event is blamed with it.
 */
import type { Clock } from '../../base/clock.ts'
import { LIMITS } from '../../base/limits.ts'
import type { InFlightRecord } from '../consumer-records.ts'

export interface InFlightHost {
  /** How many deliveries there could be, and the offsets of those that there are. */
  recordInFlight(): { readonly credit: number; readonly offsets: number[] }
  save(record: InFlightRecord): void
  readonly after: Clock['after']
  /** The suspect that ran alone is settled, or does not run any more. */
  aloneDone(offset: number): void
}

export class InFlight {
  readonly #host: InFlightHost
  #armed = false
  /** The last saved record, as text. */
  #saved = ''
  #alone: number | null = null

  constructor(host: InFlightHost) {
    this.#host = host
  }

  /** The suspect that runs alone now. */
  get alone(): number | null {
    return this.#alone
  }

  /** From now on this suspect runs alone, and the record says so. */
  beginAlone(offset: number): void {
    this.#alone = offset
    this.save()
  }

  /** The offsets from `from` up to, but not including, `end` are settled, or do not run any more. */
  endAlone(from: number, end: number = from + 1): void {
    const alone = this.#alone
    if (alone === null || alone < from || alone >= end) return
    this.#alone = null
    this.#host.aloneDone(alone)
  }

  /** Something was delivered: save the record after a while. */
  arm(): void {
    if (this.#armed) return
    this.#armed = true
    this.#host.after(LIMITS.inFlightRecordMs, () => {
      this.#armed = false
      this.save()
    })
  }

  /** Save the record, if it has changed. */
  save(): void {
    const { credit, offsets } = this.#host.recordInFlight()
    if (this.#alone !== null && !offsets.includes(this.#alone)) offsets.push(this.#alone)
    const record: InFlightRecord = { credit, offsets, solo: this.#alone }
    const text = JSON.stringify(record)
    if (text === this.#saved) return
    this.#saved = text
    this.#host.save(record)
  }
}
