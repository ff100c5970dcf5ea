/**
 * Clause 15: the events that an instance handles, as a compiled filter. The type decides first. The text of an event is
 * parsed only if there is a pattern for its type.
 */
import type { Want } from '../../broker/want.ts'
import { PatternSet } from '../../pattern/pattern-set.ts'
import type { PatternJson } from '../../pattern/pattern-type.ts'
import type { EventBlock } from '../delivery-log.ts'

export class WantFilter {
  /** By type: null for all its events, or the patterns for it, those for any type included. */
  readonly #byType = new Map<string, PatternSet | null>()
  /** The patterns for any type; null: the instance handles every event. */
  readonly #any: PatternSet | null
  readonly #anyPatterns: boolean

  constructor(wants: readonly Want[]) {
    const any = patternsOf(wants.filter(({ type }) => type === null))
    this.#any = any === null ? null : new PatternSet(any)
    this.#anyPatterns = any !== null && any.length > 0
    for (const type of new Set(wants.map((want) => want.type))) {
      if (type === null || any === null) continue
      const own = patternsOf(wants.filter((want) => want.type === type))
      this.#byType.set(type, own === null ? null : new PatternSet([...own, ...any]))
    }
  }

  accepts(block: EventBlock, index: number): boolean {
    if (this.#any === null) return true
    const patterns = this.#patternsOf(block.typeAt(index))
    return typeof patterns === 'boolean' ? patterns : patterns.any(block.at(index).text)
  }

  acceptsEvent({ type, text }: { readonly type: string; readonly text: string }): boolean {
    const patterns = this.#patternsOf(type)
    return typeof patterns === 'boolean' ? patterns : patterns.any(text)
  }

  /** What decides about the events of a type: true for all, false for none, or patterns. */
  #patternsOf(type: string): boolean | PatternSet {
    // An event that could not be decoded has no type. Every instance gets it as poison: none may skip it in silence.
    if (this.#any === null || type === '') return true
    const patterns = this.#byType.get(type)
    if (patterns === null) return true
    return patterns ?? (this.#anyPatterns && this.#any)
  }
}

/** The patterns, or null where one of the wants has none: then every event is wanted. */
function patternsOf(wants: readonly Want[]): readonly PatternJson[] | null {
  const patterns = wants.map(({ pattern }) => pattern)
  return patterns.every((pattern) => pattern !== null) ? patterns : null
}
