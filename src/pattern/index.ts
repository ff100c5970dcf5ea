/** `millrace/pattern`: event patterns, and the index that matches one event against many. */
export type { EventInput } from './event-reader.ts'
export { type ExplainedCondition, explainPattern, type PatternExplanation } from './explain.ts'
export { type CompiledExpression, compileExpression, type ExpressionResult } from './expression/expression.ts'
export type { ExpressionValue } from './expression/expression-tree.ts'
export type { ExpressionError, ExpressionErrorKind } from './expression/expression-value.ts'
export {
  type AttributeTexts,
  type CompiledFilter,
  compileFilter,
  type EventFilterDialect,
} from './expression/filter-dialect.ts'
export { type CompiledPattern, compilePattern } from './pattern.ts'
export type { FieldPattern, NumericRange, PatternJson, PatternOf } from './pattern-type.ts'
export { RuleIndex } from './rule-index.ts'
