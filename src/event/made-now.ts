/**
 * Events whose time nobody said: they were made by `event(…)(data)` and have the time of that moment. Only a broker whose time a test holds asks, so they are
 * noted only where there is one.
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

/** A copy of an event, with more attributes. */
export function copyOf<Event extends object>(event: object, copy: Event): Event {
  return noted?.has(event) === true ? madeNow(copy) : copy
}

/** Whether the event has a time that was said. */
export function saysItsTime(event: Encodable): boolean {
  return event.time !== undefined && noted?.has(event) !== true
}
