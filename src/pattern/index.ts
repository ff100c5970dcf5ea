/** `millrace/pattern`: event patterns, and the index that matches one event against many. */
export type { EventInput } from './event-reader.ts'
export { type CompiledPattern, compilePattern } from './pattern.ts'
export type { FieldPattern, NumericRange, PatternJson, PatternOf } from './pattern-type.ts'
export { RuleIndex } from './rule-index.ts'
