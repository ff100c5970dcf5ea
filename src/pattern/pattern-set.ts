/**
 * Several patterns that are matched against the same events. A single pattern is matched directly; more use an index,
 * so that many cost little more than one.
 */
import type { EventInput } from './event-reader.ts'
import { type CompiledPattern, compilePattern } from './pattern.ts'
import type { PatternJson } from './pattern-type.ts'
import { RuleIndex } from './rule-index.ts'

const NONE: ReadonlySet<number> = new Set()
const FIRST: ReadonlySet<number> = new Set([0])

export class PatternSet {
  readonly #only: CompiledPattern | null
  readonly #index: RuleIndex | null

  /** @throws INVALID_PATTERN */
  constructor(patterns: readonly PatternJson[]) {
    const [first] = patterns
    this.#only = first !== undefined && patterns.length === 1 ? compilePattern(first) : null
    this.#index = patterns.length > 1 ? new RuleIndex() : null
    if (this.#index !== null) for (const [at, pattern] of patterns.entries()) this.#index.add(String(at), pattern)
  }

  /** Whether any pattern matches. */
  any(event: EventInput): boolean {
    return this.#only?.matches(event) ?? (this.#index !== null && this.#index.match(event).length > 0)
  }

  /** The indexes of the patterns that match. */
  which(event: EventInput): ReadonlySet<number> {
    if (this.#index !== null) return new Set(this.#index.match(event).map(Number))
    return this.#only?.matches(event) === true ? FIRST : NONE
  }
}
