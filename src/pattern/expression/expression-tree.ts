/** The parsed form of a CloudEvents SQL expression: the tree that the grammar (cesql.peggy) builds. */

/** A string, a 32-bit integer or a boolean: the types of the language. */
export type ExpressionValue = string | number | boolean

export type ComparisonOperator = '=' | '!=' | '<' | '<=' | '>' | '>='
export type MathOperator = '+' | '-' | '*' | '/' | '%'
export type LogicOperator = 'AND' | 'OR' | 'XOR'
export type BinaryOperator = ComparisonOperator | MathOperator | LogicOperator

/** A test with LIKE or IN of the operand before it. */
export type ExpressionTest =
  | { readonly kind: 'like'; readonly negated: boolean; readonly pattern: string }
  | { readonly kind: 'in'; readonly negated: boolean; readonly set: readonly ExpressionTree[] }

export type ExpressionTree =
  | { readonly kind: 'literal'; readonly value: ExpressionValue }
  | { readonly kind: 'attribute'; readonly name: string }
  | { readonly kind: 'exists'; readonly name: string }
  | { readonly kind: 'not' | 'negate'; readonly operand: ExpressionTree }
  | { readonly kind: 'tested'; readonly operand: ExpressionTree; readonly tests: readonly ExpressionTest[] }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly ExpressionTree[] }
  | ExpressionChain

/**
 * Operators of one precedence, from left to right. The chain is flat, so that a thousand ORs are not nested a thousand
 * levels deep.
 */
export interface ExpressionChain {
  readonly kind: 'chain'
  readonly first: ExpressionTree
  readonly rest: readonly { readonly operator: BinaryOperator; readonly operand: ExpressionTree }[]
}
