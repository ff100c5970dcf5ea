/**
 * A firing: an event on its way to one action of one rule, in that action's own queue.
 *
 * It is the event itself, with what the action must know in extension attributes, so that a dead letter shows what was to be acted on.
 */
import { type Channel, queue } from '../../channel/channel.ts'
import { attribute, type CloudEvent, type StoredEvent } from '../../event/cloud-event.ts'

/** What is known of the event beside itself. */
export interface FiredFacts {
  readonly channel: string
  readonly offset: number
  readonly key: string | null
}

export interface Firing extends FiredFacts {
  readonly event: StoredEvent
  /** Where in `$rules` the rule stood that the event matched. */
  readonly version: number
}

const FACTS = ['rulechannel', 'ruleoffset', 'rulekey', 'ruleversion'] as const

export function queueName(rule: string, action: string): string {
  return `$rule.${rule}.${action}`
}

/** The consumer whose dead letters are those of the action. */
export function workerName(rule: string, action: string): string {
  return `rule.${rule}.${action}`
}

/** No window for duplicates: a firing is emitted once, and the same event may rightly fire again when a router is rewound. */
export function firingQueue(rule: string, action: string): Channel {
  return queue(queueName(rule, action), {
    dedupe: false,
    maxEventBytes: '16MiB',
    key: (event) => attribute(event as unknown as CloudEvent, 'rulekey') as string | undefined,
  })
}

/** An event as it was, to be published again: what the publisher of this one would add stays away. */
export function sameEvent(event: StoredEvent): Record<string, unknown> & { readonly type: string } {
  const { offset: _, specversion: _version, ...same } = event
  return { causationid: undefined, correlationid: undefined, traceparent: undefined, ...same }
}

export function firingOf(event: StoredEvent, { channel, offset, key }: FiredFacts, version: number): Record<string, unknown> & { readonly type: string } {
  return { ...sameEvent(event), rulechannel: channel, ruleoffset: String(offset), ...(key !== null && { rulekey: key }), ruleversion: String(version) }
}

export function readFiring(fired: StoredEvent): Firing {
  const event = { ...fired, offset: Number(attribute(fired, 'ruleoffset')) }
  for (const name of FACTS) delete (event as Record<string, unknown>)[name]
  const key = attribute(fired, 'rulekey')
  return {
    event,
    channel: String(attribute(fired, 'rulechannel')),
    offset: event.offset,
    key: typeof key === 'string' ? key : null,
    version: Number(attribute(fired, 'ruleversion')),
  }
}
