/**
 * A firing: an event on its way to one action of one rule, in that action's own queue.
 *
 * It is the event itself, with what the action must know in extension attributes, so that a dead letter shows what was to be acted on.
 */
import { type Channel, queue } from '../../channel/channel.ts'
import { attribute, type CloudEvent, type StoredEvent } from '../../event/cloud-event.ts'
import { decodeEvent, type Encodable } from '../../event/encode.ts'
import { FIRING_ATTRIBUTES, passedEvent } from '../../outbound/passed-event.ts'

/** What is known of the event beside itself. */
export interface FiredFacts {
  readonly channel: string
  readonly offset: number
  readonly key: string | null
}

/** An event that rules act on: parsed for conditions and templates, and its text for what must go on unchanged. */
export interface ActedOn extends FiredFacts {
  readonly event: StoredEvent
  readonly text: string
}

export interface Firing extends ActedOn {
  /** Where in `$rules` the rule stood that the event matched. */
  readonly version: number
}

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
