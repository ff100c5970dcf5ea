/**
 * Offsets inside events: those of rules name places in other channels, which are others at the target.
 *
 * `$rules` says of each change from which offset of each channel on it applies; a firing in an action's queue says which event it is of, and by which
 * version of its rule.
 */

import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { Engine } from '../broker/engine.ts'
import { memberText } from '../event/http/json-text.ts'
import type { RulesEffective } from '../rules/live/rule-events.ts'
import type { Places } from './places.ts'
import { eventsOf } from './source-events.ts'

const RULES = '$rules'
const FIRINGS = '$rule.'

/** In which order channels are copied: those of rules after those that they speak of. */
export function rankOf(channel: string): number {
  return channel === RULES ? 1 : channel.startsWith(FIRINGS) ? 2 : 0
}

/** A place that an event speaks of: an event itself, or where in a channel something begins. */
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

/** Where the changes in `$rules` stand at the target: by their ids, which no two share. */
export class RulePlaces {
  readonly #source: Engine
  readonly #target: Engine
  #byId: Map<string, number> | null = null
  #next = 0
  readonly #places = new Map<number, number>()

  constructor(source: Engine, target: Engine) {
    this.#source = source
    this.#target = target
  }

  /** Take in what is at the target now. */
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
      if (from !== undefined) this.#places.set(from, offset)
      this.#next = offset + 1
    }
  }

  of(source: number): number | undefined {
    return this.#places.get(source)
  }
}

/** Whether an event can be translated only when those before it are at the target. */
export function speaksOfEarlier(channel: string, { type }: EncodedEvent): boolean {
  return channel === RULES && type === 'rules.effective'
}

export interface Translation {
  /** Of a channel that was copied. */
  places(channel: string): Places | undefined
  readonly rules: RulePlaces
}

/** The event as it is to stand at the target. `places` of channels that are not copied are not there: what began somewhere in those begins at their beginning. */
export function translated<Event extends EncodedEvent>(
  channel: string,
  event: Event,
  { places, rules }: Translation,
): Event {
  if (channel === RULES && event.type === 'rules.effective') {
    const data = memberText(event.text, 'data') ?? ''
    const { through, offsets } = effectiveOf(event.text)
    const starts = Object.entries(offsets).flatMap(([of, offset]) => {
      const there = places(of)
      return there === undefined ? [] : [[of, there.from(offset)] as const]
    })
    const moved: RulesEffective = { through: rules.of(through) ?? through, offsets: Object.fromEntries(starts) }
    return { ...event, text: event.text.replace(data, () => JSON.stringify(moved)) }
  }
  if (!channel.startsWith(FIRINGS)) return event
  const of = textOf(event.text, 'rulechannel')
  let { text } = event
  const there = {
    ruleoffset: (offset: number) => (of === null ? undefined : places(of)?.exactly(offset)),
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
