/**
 * A firing: an event in the queue of one action of one rule.
 *
 * It is the matched event itself, with extension attributes for the action. So a dead letter shows the matched event.
 */
import { type Channel, queue } from '../channel/channel.ts'
import { attribute, type CloudEvent, type StoredEvent } from '../event/cloud-event.ts'
import { decodeEvent, type Encodable } from '../event/encode.ts'
import { FIRING_ATTRIBUTES, passedEvent } from '../outbound/passed-event.ts'

/** Facts about an event that are not in the event. */
export interface FiredFacts {
  readonly channel: string
  readonly offset: number
  readonly key: string | null
}

/** An event on which rules act: parsed for templates, and as text for actions that pass it on unchanged. */
export interface ActedOn extends FiredFacts {
  readonly event: StoredEvent
  readonly text: string
}

export interface Firing extends ActedOn {
  /** The offset in `$rules` of the rule version that the event matched. */
  readonly version: number
}

/** Queues of actions are those of firings. */
const QUEUE_PREFIX = '$rule.'

export function queueName(rule: string, action: string): string {
  return `${QUEUE_PREFIX}${rule}.${action}`
}

export function isFiringQueue(channel: string): boolean {
  return channel.startsWith(QUEUE_PREFIX)
}

/** The consumer of the action. Dead letters of the action are its dead letters. */
export function workerName(rule: string, action: string): string {
  return `rule.${rule}.${action}`
}

/**
 * The queue of an action. It does not deduplicate: a firing is emitted only once, and the same event must fire again
 * after a router is rewound.
 */
export function firingQueue(rule: string, action: string): Channel {
  return queue(queueName(rule, action), {
    dedupe: false,
    maxEventBytes: '16MiB',
    key: (event) => attribute(event as unknown as CloudEvent, 'rulekey') as string | undefined,
  })
}

export function firingOf({ text, channel, offset, key }: ActedOn, version: number): Encodable {
  return passedEvent(text, {
    rulechannel: channel,
    ruleoffset: String(offset),
    ...(key !== null && { rulekey: key }),
    ruleversion: String(version),
  })
}

export function readFiring(fired: { readonly text: string; readonly offset: number }): Firing {
  const event = decodeEvent(fired.text, fired.offset)
  const fact = (name: (typeof FIRING_ATTRIBUTES)[number]): string | undefined => {
    const value = attribute(event, name)
    return typeof value === 'string' ? value : undefined
  }
  const offset = Number(fact('ruleoffset'))
  const facts = {
    text: fired.text,
    channel: String(fact('rulechannel')),
    offset,
    key: fact('rulekey') ?? null,
    version: Number(fact('ruleversion')),
  }
  const bare = { ...event, offset }
  for (const name of FIRING_ATTRIBUTES) delete (bare as Record<string, unknown>)[name]
  return { event: bare, ...facts }
}
