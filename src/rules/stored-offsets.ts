/**
 * The offsets inside the stored events of rules. They refer to events of other channels, so a copy to another engine,
 * where events have other offsets, replaces them.
 *
 * An event `rules.effective` of `$rules` contains the offset of each channel from which changes apply. A firing in the
 * queue of an action contains the offset of the matched event, and the offset in `$rules` of the rule version.
 */
import type { EncodedEvent } from '../broker/encoded-event.ts'
import { memberText, withMemberText } from '../event/http/json-text.ts'
import { isFiringQueue } from './firing.ts'
import { EFFECTIVE, type RulesEffective, rulesChannel } from './live/rule-events.ts'

/** An offset of another channel that a stored event of rules contains. */
export interface ContainedOffset {
  readonly channel: string
  readonly offset: number
  /** True: it is the offset of one event. False: it is the offset from which a change of rules applies. */
  readonly exact: boolean
}

/** The new offsets for the events of rules. */
export interface NewOffsets {
  /** The new offset of one event. If it is `undefined`, the event keeps the old offset. */
  exact(channel: string, offset: number): number | undefined
  /** The new offset from which a change applies. If it is `undefined`, the change applies to the whole channel. */
  start(channel: string, offset: number): number | undefined
  /** The new offset of an event of `$rules`. If it is `undefined`, the event keeps the old offset. */
  change(offset: number): number | undefined
}

/** A channel with a higher rank contains offsets of channels with a lower rank. */
export function offsetRank(channel: string): number {
  return channel === rulesChannel.name ? 1 : isFiringQueue(channel) ? 2 : 0
}

/** The offsets of other channels that an event contains. */
export function containedOffsets(channel: string, { type, text }: EncodedEvent): ContainedOffset[] {
  if (isEffective(channel, type))
    return Object.entries(effectiveOf(text).offsets).map(([of, offset]) => ({ channel: of, offset, exact: false }))
  if (!isFiringQueue(channel)) return []
  const [of, offset] = [textOf(text, 'rulechannel'), offsetOf(text, 'ruleoffset')]
  return of === null || offset === null ? [] : [{ channel: of, offset, exact: true }]
}

/** Whether an event contains the offset of an earlier event of its own channel. */
export function containsOwnOffset(channel: string, { type }: EncodedEvent): boolean {
  return isEffective(channel, type)
}

/** The event with the new offsets. Events that do not belong to rules are returned as they are. */
export function withNewOffsets<Event extends EncodedEvent>(channel: string, event: Event, offsets: NewOffsets): Event {
  if (isEffective(channel, event.type)) return { ...event, text: withNewStarts(event.text, offsets) }
  return isFiringQueue(channel) ? { ...event, text: withNewFacts(event.text, offsets) } : event
}

function withNewStarts(text: string, offsets: NewOffsets): string {
  const { through, offsets: starts } = effectiveOf(text)
  const data: RulesEffective = {
    through: offsets.change(through) ?? through,
    offsets: Object.fromEntries(
      Object.entries(starts).flatMap(([channel, offset]) => {
        const start = offsets.start(channel, offset)
        return start === undefined ? [] : [[channel, start] as const]
      }),
    ),
  }
  return withMemberText(text, 'data', JSON.stringify(data))
}

function withNewFacts(text: string, offsets: NewOffsets): string {
  const [channel, event, version] = [
    textOf(text, 'rulechannel'),
    offsetOf(text, 'ruleoffset'),
    offsetOf(text, 'ruleversion'),
  ]
  const newEvent = channel === null || event === null ? undefined : offsets.exact(channel, event)
  const newVersion = version === null ? undefined : offsets.change(version)
  let changed = text
  if (newEvent !== undefined) changed = withMemberText(changed, 'ruleoffset', `"${newEvent}"`)
  if (newVersion !== undefined) changed = withMemberText(changed, 'ruleversion', `"${newVersion}"`)
  return changed
}

function isEffective(channel: string, type: string): boolean {
  return channel === rulesChannel.name && type === EFFECTIVE
}

function effectiveOf(text: string): RulesEffective {
  return JSON.parse(memberText(text, 'data') ?? '{}') as RulesEffective
}

function textOf(text: string, name: string): string | null {
  const member = memberText(text, name)
  return member === undefined ? null : String(JSON.parse(member))
}

function offsetOf(text: string, name: string): number | null {
  const value = textOf(text, name)
  return value !== null && /^\d+$/.test(value) ? Number(value) : null
}
