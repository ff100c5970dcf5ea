/**
 * The inbox of a process: a queue of Millrace's own, with the id of the instance as key. Events of all channels, timers
 * and what people want of an instance come in this one order, whatever the keys of the channels are.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { LIMITS } from '../base/limits.ts'
import { type Queue, queue } from '../channel/channel.ts'
import { type AnyEventDefinition, type EventDefinition, event } from '../event/event.ts'
import type { ProcessPlan } from './process-plan.ts'
import { isSensitive, sensitiveMember } from './sensitive-form.ts'

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

/** The input of a process one of whose events has sensitive fields: a reader without the permission sees no event. */
const SensitiveInput: typeof Input = event('millrace.process.input', {
  '~standard': {
    version: 1,
    vendor: 'millrace',
    validate: (value: unknown) => ({ value }),
    ...sensitiveMember('event'),
  },
} satisfies StandardSchemaV1)

export function inboxOf({ name, byType }: Pick<ProcessPlan, 'name' | 'byType'>): Inbox {
  const isMarked = [...byType.values()].some(({ definition }) => hasSensitive(definition))
  const input = isMarked ? SensitiveInput : Input
  return queue(`$process.${name}`, { events: [input, Fired, End], maxEventBytes: LIMITS.eventBytesMax })
}

function hasSensitive({ schema, earlier }: AnyEventDefinition): boolean {
  return isSensitive(schema) || earlier.some((each) => isSensitive(each.schema))
}
