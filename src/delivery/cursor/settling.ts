/**
 * Settles offsets: adds them to the done set and removes what else a cursor keeps of them. Every way in which an
 * offset is settled ends here.
 */
import type { DeadLetterBox } from '../dead/dead-letter-box.ts'
import type { Claims } from '../dispatch/claims.ts'
import type { Lane } from '../dispatch/lane.ts'
import type { LaneTable } from '../dispatch/lane-table.ts'
import type { CursorState } from './cursor-state.ts'
import type { InFlight } from './in-flight.ts'

export interface SettlingParts {
  readonly state: CursorState
  readonly box: DeadLetterBox
  readonly lanes: LaneTable
  readonly claims: Claims
  readonly inFlight: InFlight
}

export class Settling {
  readonly #state: CursorState
  readonly #box: DeadLetterBox
  readonly #lanes: LaneTable
  readonly #claims: Claims
  readonly #inFlight: InFlight

  constructor({ state, box, lanes, claims, inFlight }: SettlingParts) {
    this.#state = state
    this.#box = box
    this.#lanes = lanes
    this.#claims = claims
    this.#inFlight = inFlight
  }

  /**
   * Settle the offsets from `from` up to, but not including, `end`: no consumer gets them, or the log no longer has
   * them.
   */
  skip(from: number, end: number): void {
    this.#state.done.addRun(from, end - from)
    this.#state.clearRange(from, end)
    this.#claims.cancelRange(from, end)
    this.#inFlight.endAlone(from, end)
  }

  /**
   * Settle an event of a lane. `kept`: the event is among the dead letters, so its offset is in the done set already.
   */
  settle(lane: Lane | null, offset: number, kept: boolean): void {
    this.#state.clear(offset)
    this.#inFlight.endAlone(offset)
    if (!kept) this.#state.done.add(offset)
    if (lane === null) return
    if (lane.waiting > 0 || (lane.key !== null && this.#box.chains.size > 0 && this.#box.chains.has(lane.key)))
      this.#lanes.enqueue(lane)
    else if (lane.inFlight === 0) this.#lanes.forget(lane)
  }
}
