/**
 * What an instance wants, compiled: by type first, and by pattern over the event's text only where one is given (clause 15). What nobody
 * wants is never parsed.
 */
import type { Want } from '../../broker/engine.ts'
import { PatternSet } from '../../pattern/pattern-set.ts'
import type { PatternJson } from '../../pattern/pattern-type.ts'
import type { EventBlock } from '../delivery-log.ts'

export class WantFilter {
  /** Types wanted whole (null) or by patterns, those for any type included. */
  readonly #byType = new Map<string, PatternSet | null>()
  /** Patterns for events of other types; null: every event is wanted. */
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

  /** What decides about events of a type: whether all or none are wanted, or patterns. */
  #patternsOf(type: string): boolean | PatternSet {
    // What could not be read as an event is everyone's poison: nobody may pass it over in silence.
    if (this.#any === null || type === '') return true
    const patterns = this.#byType.get(type)
    if (patterns === null) return true
    return patterns ?? (this.#anyPatterns && this.#any)
  }
}

/** The patterns, or null where one of the wants has none: all is wanted. */
function patternsOf(wants: readonly Want[]): readonly PatternJson[] | null {
  const patterns = wants.map(({ pattern }) => pattern)
  return patterns.every((pattern) => pattern !== null) ? patterns : null
}
