/**
 * The inbox of a process: a queue of Millrace's own, with the id of the instance as key. Events of all channels, timers
 * and what people want of an instance come in this one order, whatever the keys of the channels are.
 */
import { LIMITS } from '../base/limits.ts'
import { type Queue, queue } from '../channel/channel.ts'
import { type EventDefinition, event } from '../event/event.ts'

/** An event for an instance, as it is stored in its channel. */
export interface InputData {
  readonly channel: string
  readonly offset: number
  readonly event: Readonly<Record<string, unknown>> & { readonly id: string; readonly type: string }
}

export interface FiredData {
  readonly timer: string
  readonly token: string
}

export const Input: EventDefinition<'millrace.process.input', unknown> = event('millrace.process.input')
export const Fired: EventDefinition<'millrace.process.timer', unknown> = event('millrace.process.timer')
/** A person ends the instance. */
export const End: EventDefinition<'millrace.process.end', unknown> = event('millrace.process.end')

export type Inbox = Queue<typeof Input | typeof Fired | typeof End>

export function inboxOf(process: string): Inbox {
  return queue(`$process.${process}`, { events: [Input, Fired, End], maxEventBytes: LIMITS.eventBytesMax })
}
