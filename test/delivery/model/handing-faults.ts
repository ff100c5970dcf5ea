/**
 * Rules for one delivery that only need the worker, the event and its account: which event, which attempt, and whether
 * the worker may get it now.
 */
import type { Delivery } from '../../../src/broker/engine.ts'
import { type Account, type Entry, isBuriedIn, name } from './account.ts'
import type { Worker } from './worker.ts'

/** A rule of the contract, or of the room itself. */
export type Rule =
  | 'once'
  | 'exists'
  | 'ready'
  | 'credit'
  | 'wanted'
  | 'attempt'
  | 'due'
  | 'order'
  | 'one-at-a-time'
  | 'across-channels'
  | 'block'
  | 'redrive-order'
  | 'letters'
  | 'answer'
  | 'lease'
  | 'claim'
  | 'lost'
  | 'stuck'
  | 'spin'
  | 'left-behind'
  | 'alarm'
  | 'limit'

export interface Broken {
  readonly rule: Rule
  readonly message: string
}

/** A delivery that was handed to a worker, and when. */
export interface Handing {
  readonly worker: Worker
  readonly account: Account
  readonly entry: Entry
  readonly nowMs: number
  readonly step: number
}

export type Fault = readonly [rule: Rule, message: string]

/** What is wrong with the event, its state or its attempt number. */
export function* eventFaults({ worker, entry, nowMs }: Handing, delivery: Delivery): Generator<Fault> {
  const { event, timeMs } = entry
  if (
    delivery.id !== event.id ||
    delivery.key !== event.key ||
    delivery.text !== event.text ||
    delivery.timeMs !== timeMs
  )
    yield ['exists', `it is another event`]
  if (entry.hand !== null) yield ['once', `${entry.hand.worker.name} has it in hand`]
  if (entry.state === 'done') yield ['once', `it is done`]
  if (entry.state === 'dead') yield ['letters', `it is a dead letter`]
  if (entry.redriven && !delivery.redriven) yield ['letters', `it was redriven, and does not say so`]
  if (delivery.redriven && event.key === null && !entry.redriven)
    yield ['letters', `it says that it was redriven, and was not`]
  if (delivery.attempt < entry.least + 1 || delivery.attempt > entry.most + 1) {
    yield ['attempt', `it has used ${entry.least === entry.most ? entry.least : `${entry.least} to ${entry.most}`}`]
  }
  if (nowMs < entry.dueMs) yield ['due', `it is due in ${entry.dueMs - nowMs} ms`]
  if (entry.letter !== null ? entry.letter.consumer !== worker.spec.name : !worker.wants(event))
    yield ['wanted', `that is not for it`]
}

/** What forbids that this worker is given anything now, or this event. */
export function* turnFaults({ worker, account, entry, nowMs, step }: Handing): Generator<Fault> {
  const { paused, closed, lapsed, begun } = worker
  if (paused || closed || lapsed || !begun)
    yield ['ready', `it is ${closed ? 'closed' : lapsed ? 'without its lease' : paused ? 'paused' : 'not there yet'}`]
  const { reserved, claimedBy } = entry
  if (claimedBy !== null && claimedBy !== worker && !claimedBy.closed)
    yield ['claim', `${claimedBy.name} has claimed it`]
  if (reserved !== null && reserved.worker !== worker && !reserved.worker.closed && reserved.untilMs > nowMs) {
    yield ['claim', `${reserved.worker.name} may still claim it`]
  }
  // What comes before a blocking letter of its key goes first when that comes back.
  const blockers = account.list.filter(
    (other) => other !== entry && other.letter?.blocks === true && other.state !== 'done' && !isBuriedIn(other, step),
  )
  const isFirst = blockers.some(
    ({ state, event, offset }) =>
      state === 'open' && event.key !== null && event.key === entry.event.key && entry.offset < offset,
  )
  const blocking = isFirst ? undefined : blockers[0]
  if (blocking !== undefined && entry.letter?.blocks !== true && claimedBy === null)
    yield ['block', `${name(account, blocking)} blocks the channel`]
}
