/** What an instance wants, compiled: by type first, and by pattern over the event's text only where one is given (clause 15). */
import type { Want } from '../broker/engine.ts'
import { type CompiledPattern, compilePattern } from '../pattern/pattern.ts'
import type { EventBlock } from './delivery-log.ts'

export class WantFilter {
  /** Types wanted whole (null) or by patterns. */
  readonly #byType = new Map<string, CompiledPattern[] | null>()
  /** Patterns for events of any type; null: every event is wanted. */
  #any: CompiledPattern[] | null = []

  constructor(wants: readonly Want[]) {
    for (const { type, pattern } of wants) {
      const compiled = pattern === null ? null : compilePattern(pattern)
      if (type === null) this.#any = add(this.#any, compiled)
      else this.#byType.set(type, add(this.#byType.get(type) ?? (this.#byType.has(type) ? null : []), compiled))
    }
  }

  accepts(block: EventBlock, index: number): boolean {
    if (this.#any === null) return true
    const patterns = this.#byType.get(block.typeAt(index))
    if (patterns === null) return true
    if (patterns === undefined && this.#any.length === 0) return false
    const { text } = block.at(index)
    return (patterns?.some((pattern) => pattern.matches(text)) ?? false) || this.#any.some((pattern) => pattern.matches(text))
  }
}

function add(patterns: CompiledPattern[] | null, pattern: CompiledPattern | null): CompiledPattern[] | null {
  return patterns === null || pattern === null ? null : [...patterns, pattern]
}
