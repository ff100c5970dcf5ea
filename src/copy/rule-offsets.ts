/**
 * Offsets inside events: the events of rules refer to offsets in other channels, which are different at the target.
 *
 * An event in `$rules` says from which offset of each channel a change applies. A firing in an action's queue names its
 * event and the version of its rule.
 */

import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { Engine } from '../broker/engine.ts'
import { memberText } from '../event/http/json-text.ts'
import type { RulesEffective } from '../rules/live/rule-events.ts'
import type { OffsetMap } from './offset-map.ts'
import { eventsOf } from './source-events.ts'

const RULES = '$rules'
const FIRINGS = '$rule.'

/** The order in which channels are copied: those of rules after the channels that they refer to. */
export function rankOf(channel: string): number {
  return channel === RULES ? 1 : channel.startsWith(FIRINGS) ? 2 : 0
}

/** An offset that an event refers to: that of one event, or one from which something applies. */
export interface Mentioned {
  readonly channel: string
  readonly offset: number
  readonly exact: boolean
}

export function mentionedIn(channel: string, { type, text }: EncodedEvent): Mentioned[] {
  if (channel === RULES && type === 'rules.effective') {
    return Object.entries(effectiveOf(text).offsets).map(([of, offset]) => ({ channel: of, offset, exact: false }))
  }
  if (!channel.startsWith(FIRINGS)) return []
  const [of, offset] = [textOf(text, 'rulechannel'), numberOf(text, 'ruleoffset')]
  return of === null || offset === null ? [] : [{ channel: of, offset, exact: true }]
}

/** The target offsets of the changes in `$rules`, found by their ids, which are unique. */
export class RuleOffsetMap {
  readonly #source: Engine
  readonly #target: Engine
  #byId: Map<string, number> | null = null
  #next = 0
  readonly #targetOffsets = new Map<number, number>()

  constructor(source: Engine, target: Engine) {
    this.#source = source
    this.#target = target
  }

  /** Read what is at the target now. */
  async refresh(): Promise<void> {
    if ((await this.#source.channel(RULES)) === undefined || (await this.#target.channel(RULES)) === undefined) return
    if (this.#byId === null) {
      this.#byId = new Map()
      for await (const { id, offset } of eventsOf(this.#source, RULES)) this.#byId.set(id, offset)
    }
    for await (const { id, offset } of eventsOf(
      this.#target,
      RULES,
      this.#next === 0 ? { at: 'beginning' } : { offset: this.#next },
    )) {
      const from = this.#byId.get(id)
      if (from !== undefined) this.#targetOffsets.set(from, offset)
      this.#next = offset + 1
    }
  }

  of(source: number): number | undefined {
    return this.#targetOffsets.get(source)
  }
}

/** Whether an event can be translated only after earlier events of the same channel are at the target. */
export function speaksOfEarlier(channel: string, { type }: EncodedEvent): boolean {
  return channel === RULES && type === 'rules.effective'
}

export interface Translation {
  /** The offset mapping of a copied channel. */
  offsetMap(channel: string): OffsetMap | undefined
  readonly rules: RuleOffsetMap
}

/**
 * The event with the target's offsets. For a channel that is not copied there is no mapping: what applied from some
 * offset of it applies from its beginning.
 */
export function translated<Event extends EncodedEvent>(
  channel: string,
  event: Event,
  { offsetMap, rules }: Translation,
): Event {
  if (channel === RULES && event.type === 'rules.effective') {
    const data = memberText(event.text, 'data') ?? ''
    const { through, offsets } = effectiveOf(event.text)
    const starts = Object.entries(offsets).flatMap(([of, offset]) => {
      const there = offsetMap(of)
      return there === undefined ? [] : [[of, there.from(offset)] as const]
    })
    const moved: RulesEffective = { through: rules.of(through) ?? through, offsets: Object.fromEntries(starts) }
    return { ...event, text: event.text.replace(data, () => JSON.stringify(moved)) }
  }
  if (!channel.startsWith(FIRINGS)) return event
  const of = textOf(event.text, 'rulechannel')
  let { text } = event
  const there = {
    ruleoffset: (offset: number) => (of === null ? undefined : offsetMap(of)?.exactly(offset)),
    ruleversion: (offset: number) => rules.of(offset),
  }
  for (const [name, find] of Object.entries(there)) {
    const offset = numberOf(text, name)
    const target = offset === null ? undefined : find(offset)
    if (target !== undefined) text = text.replace(`"${name}":"${offset}"`, `"${name}":"${target}"`)
  }
  return { ...event, text }
}

function effectiveOf(text: string): RulesEffective {
  return JSON.parse(memberText(text, 'data') ?? '{}') as RulesEffective
}

function textOf(text: string, name: string): string | null {
  const member = memberText(text, name)
  return member === undefined ? null : String(JSON.parse(member))
}

function numberOf(text: string, name: string): number | null {
  const value = textOf(text, name)
  return value !== null && /^\d+$/.test(value) ? Number(value) : null
}
