/**
 * Events without a time of their own: `event(…)(data)` gives them the current time. Only a broker with a test's clock
 * needs to know them, so they are recorded only if there is one.
 */
import type { Encodable } from './encode.ts'

let noted: WeakSet<object> | null = null

/** Note them from now on. */
export function noteMadeNow(): void {
  noted ??= new WeakSet()
}

export function madeNow<Event extends object>(event: Event): Event {
  noted?.add(event)
  return event
}

/** Marks a copy as made now if the original event is. */
export function copyOf<Event extends object>(event: object, copy: Event): Event {
  return noted?.has(event) === true ? madeNow(copy) : copy
}

/** Whether the event's time was given explicitly. */
export function saysItsTime(event: Encodable): boolean {
  return event.time !== undefined && noted?.has(event) !== true
}
