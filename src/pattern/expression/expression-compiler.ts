/**
 * Compiles the tree to closures. It defines the operators (spec 3.4, 3.6, 3.7); functions, casts and LIKE have their
 * own files.
 *
 * Invariants:
 * - Nothing throws, and the event is not changed.
 * - The first failure ends the evaluation, unless AND, OR or IN did not need that operand.
 * - Both operands of a comparison or an arithmetic operator are evaluated before either is cast.
 */
import { eventAttribute, REQUIRED_ATTRIBUTES } from './event-attribute.ts'
import { type ExpressionFunction, findFunction } from './expression-functions.ts'
import type {
  BinaryOperator,
  ExpressionChain,
  ExpressionTest,
  ExpressionTree,
  ExpressionValue,
} from './expression-tree.ts'
import {
  castTo,
  type Evaluation,
  EvaluationFailure,
  type ExpressionType,
  INTEGER_MAX,
  INTEGER_MIN,
  toBoolean,
  toInteger,
  toText,
  typeOf,
} from './expression-value.ts'
import { likeMatcher } from './like-matcher.ts'

export type Evaluator = (event: object) => Evaluation

/** Applies one operator with its right operand to the value on its left. */
type Step = (left: ExpressionValue, event: object) => Evaluation

export function compileTree(tree: ExpressionTree): Evaluator {
  switch (tree.kind) {
    case 'literal':
      return () => tree.value
    case 'attribute':
      return attributeEvaluator(tree.name)
    case 'exists':
      return REQUIRED_ATTRIBUTES.has(tree.name) ? () => true : (event) => eventAttribute(event, tree.name) !== undefined
    case 'not':
      return stepped(compileTree(tree.operand), [(value) => inverse(toBoolean(value))])
    case 'negate':
      return stepped(compileTree(tree.operand), [(value) => arithmetic('-', 0, toInteger(value))])
    case 'tested':
      return stepped(compileTree(tree.operand), tree.tests.map(testStep))
    case 'call':
      return callEvaluator(tree.name, tree.args)
    case 'chain':
      return stepped(
        compileTree(tree.first),
        tree.rest.map(({ operator, operand }) => binaryStep(operator, operand)),
      )
  }
}

/**
 * The type of an expression's value, as far as it is known without an event; an unknown type counts as boolean (spec
 * 3.2).
 */
export function typeOfTree(tree: ExpressionTree): ExpressionType {
  switch (tree.kind) {
    case 'literal':
      return typeOf(tree.value)
    case 'negate':
      return 'integer'
    case 'call':
      return findFunction(tree.name, tree.args.length)?.returns ?? 'boolean'
    case 'chain':
      return typeOfChain(tree)
    case 'attribute':
    case 'exists':
    case 'not':
    case 'tested':
      return 'boolean'
  }
}

function typeOfChain({ rest }: ExpressionChain): ExpressionType {
  return rest.every(({ operator }) => '+-*/%'.includes(operator)) ? 'integer' : 'boolean'
}

function attributeEvaluator(name: string): Evaluator {
  const missing = new EvaluationFailure('missingAttribute', `the event has no attribute ${name}`)
  return (event) => eventAttribute(event, name) ?? missing
}

/** Evaluates a value, then applies the operators from left to right. */
function stepped(first: Evaluator, steps: readonly Step[]): Evaluator {
  const [only] = steps
  if (only !== undefined && steps.length === 1) {
    return (event) => {
      const value = first(event)
      return typeof value === 'object' ? value : only(value, event)
    }
  }
  return (event) => {
    let value = first(event)
    for (const step of steps) {
      if (typeof value === 'object') return value
      value = step(value, event)
    }
    return value
  }
}

function binaryStep(operator: BinaryOperator, operand: ExpressionTree): Step {
  switch (operator) {
    case 'AND':
    case 'OR':
    case 'XOR':
      return logicStep(operator, compileTree(operand))
    case '=':
    case '!=':
      return equalityStep(operator === '=', operand)
    default:
      return integerStep(INTEGER_OPERATORS[operator], compileTree(operand))
  }
}

function logicStep(operator: 'AND' | 'OR' | 'XOR', right: Evaluator): Step {
  return (value, event) => {
    const left = toBoolean(value)
    if (typeof left === 'object') return left
    if (operator !== 'XOR' && left === (operator === 'OR')) return left
    const outcome = right(event)
    if (typeof outcome === 'object') return outcome
    const boolean = toBoolean(outcome)
    return operator === 'XOR' && left ? inverse(boolean) : boolean
  }
}

/** Both operands are compared as the type of the right one. */
function equalityStep(equal: boolean, operand: ExpressionTree): Step {
  if (operand.kind === 'literal' && typeof operand.value === 'string') {
    const { value } = operand
    return (left) => (toText(left) === value) === equal
  }
  const right = compileTree(operand)
  return (value, event) => {
    const outcome = right(event)
    if (typeof outcome === 'object') return outcome
    const left = castTo(typeOf(outcome), value)
    return typeof left === 'object' ? left : (left === outcome) === equal
  }
}

const INTEGER_OPERATORS = {
  '<': (left: number, right: number): Evaluation => left < right,
  '<=': (left: number, right: number): Evaluation => left <= right,
  '>': (left: number, right: number): Evaluation => left > right,
  '>=': (left: number, right: number): Evaluation => left >= right,
  '+': (left: number, right: number): Evaluation => arithmetic('+', left, right),
  '-': (left: number, right: number): Evaluation => arithmetic('-', left, right),
  '*': (left: number, right: number): Evaluation => arithmetic('*', left, right),
  '/': (left: number, right: number): Evaluation => arithmetic('/', left, right),
  '%': (left: number, right: number): Evaluation => arithmetic('%', left, right),
}

function integerStep(operate: (left: number, right: number) => Evaluation, right: Evaluator): Step {
  return (value, event) => {
    const outcome = right(event)
    if (typeof outcome === 'object') return outcome
    const left = toInteger(value)
    if (typeof left === 'object') return left
    const operand = toInteger(outcome)
    return typeof operand === 'object' ? operand : operate(left, operand)
  }
}

/** A result beyond 32 bits is a math error. A number that wraps around would make comparisons wrong without notice. */
function arithmetic(
  operator: '+' | '-' | '*' | '/' | '%',
  left: number,
  right: number | EvaluationFailure,
): Evaluation {
  if (typeof right === 'object') return right
  if (right === 0 && (operator === '/' || operator === '%'))
    return new EvaluationFailure('math', `${left} ${operator} 0: division by zero`)
  const result = calculated(operator, left, right)
  // `| 0` turns -0 into 0.
  return result >= INTEGER_MIN && result <= INTEGER_MAX
    ? result | 0
    : new EvaluationFailure('math', `${left} ${operator} ${right} is beyond 32 bits`)
}

function calculated(operator: '+' | '-' | '*' | '/' | '%', left: number, right: number): number {
  switch (operator) {
    case '+':
      return left + right
    case '-':
      return left - right
    case '*':
      return left * right
    case '/':
      return Math.trunc(left / right)
    case '%':
      return left % right
  }
}

function inverse(value: boolean | EvaluationFailure): Evaluation {
  return typeof value === 'object' ? value : !value
}

function testStep(test: ExpressionTest): Step {
  if (test.kind === 'like') {
    const fits = likeMatcher(test.pattern)
    return (value) => fits(toText(value)) !== test.negated
  }
  const isIn = test.set.every(isLiteral)
    ? literalSetStep(test.set.map(({ value }) => value))
    : setStep(test.set.map(compileTree))
  if (!test.negated) return isIn
  return (value, event) => {
    const found = isIn(value, event)
    return typeof found === 'object' ? found : !found
  }
}

/** The elements are cast to the type of the left operand. They are evaluated until one is equal. */
function setStep(elements: readonly Evaluator[]): Step {
  return (value, event) => {
    const type = typeOf(value)
    for (const element of elements) {
      const outcome = element(event)
      const cast = typeof outcome === 'object' ? outcome : castTo(type, outcome)
      if (typeof cast === 'object') return cast
      if (cast === value) return true
    }
    return false
  }
}

/** A set of literals is cast once for each possible type, up to the first element that cannot be cast. */
function literalSetStep(elements: readonly ExpressionValue[]): Step {
  const sets = {
    boolean: castSet('boolean', elements),
    integer: castSet('integer', elements),
    string: castSet('string', elements),
  }
  return (value) => {
    const { values, otherwise } = sets[typeOf(value)]
    return values.has(value) || otherwise
  }
}

function castSet(
  type: ExpressionType,
  elements: readonly ExpressionValue[],
): { readonly values: ReadonlySet<ExpressionValue>; readonly otherwise: Evaluation } {
  const values = new Set<ExpressionValue>()
  for (const element of elements) {
    const cast = castTo(type, element)
    if (typeof cast === 'object') return { values, otherwise: cast }
    values.add(cast)
  }
  return { values, otherwise: false }
}

function isLiteral(tree: ExpressionTree): tree is Extract<ExpressionTree, { kind: 'literal' }> {
  return tree.kind === 'literal'
}

function callEvaluator(name: string, args: readonly ExpressionTree[]): Evaluator {
  const called = findFunction(name, args.length)
  if (called === undefined) {
    const missing = new EvaluationFailure(
      'missingFunction',
      `there is no function ${name} that takes ${args.length} arguments`,
    )
    return () => missing
  }
  const evaluators = args.map((arg, index) => castEvaluator(compileTree(arg), typeOfArgument(called, index)))
  return (event) => {
    const values: ExpressionValue[] = []
    for (const evaluator of evaluators) {
      const value = evaluator(event)
      // The fallback value of a failed argument does not become the value of this function.
      if (typeof value === 'object')
        return value.value === undefined ? value : new EvaluationFailure(value.error.kind, value.error.message)
      values.push(value)
    }
    return called.run(values)
  }
}

function typeOfArgument({ takes, more = 'string' }: ExpressionFunction, index: number): ExpressionType {
  return takes[index] ?? more
}

function castEvaluator(evaluator: Evaluator, type: ExpressionType): Evaluator {
  return (event) => {
    const value = evaluator(event)
    return typeof value === 'object' ? value : castTo(type, value)
  }
}
