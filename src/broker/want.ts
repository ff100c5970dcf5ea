import type { PatternJson } from '../pattern/pattern-type.ts'

/** Events that a consumer wants: of a type (`null` for any) whose CloudEvent matches the pattern, if there is one. */
export interface Want {
  readonly type: string | null
  readonly pattern: PatternJson | null
}
