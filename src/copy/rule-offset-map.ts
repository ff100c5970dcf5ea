/** The offsets that events of rules get at the target of a copy. */
import type { Engine } from '../broker/engine.ts'
import { rulesChannel } from '../rules/live/rule-events.ts'
import type { NewOffsets } from '../rules/stored-offsets.ts'
import type { OffsetMap } from './offset-map.ts'
import { eventsOf } from './source-events.ts'

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
    if (
      (await this.#source.channel(rulesChannel.name)) === undefined ||
      (await this.#target.channel(rulesChannel.name)) === undefined
    )
      return
    if (this.#byId === null) {
      this.#byId = new Map()
      for await (const { id, offset } of eventsOf(this.#source, rulesChannel.name)) this.#byId.set(id, offset)
    }
    for await (const { id, offset } of eventsOf(
      this.#target,
      rulesChannel.name,
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

/** The target's offsets for the events of rules. `offsetMap` has the mapping of every channel that is copied. */
export function targetOffsets(rules: RuleOffsetMap, offsetMap: (channel: string) => OffsetMap | undefined): NewOffsets {
  return {
    exact: (channel, offset) => offsetMap(channel)?.exactly(offset),
    start: (channel, offset) => offsetMap(channel)?.from(offset),
    change: (offset) => rules.of(offset),
  }
}
