/**
 * Explains why a CloudEvents SQL expression is true or not for an event: the first condition of its ANDs that is not
 * true.
 */
import { eventAttribute } from './event-attribute.ts'
import { compileTree } from './expression-compiler.ts'
import { parseExpression } from './expression-parser.ts'
import type { ExpressionTree } from './expression-tree.ts'
import type { Evaluation } from './expression-value.ts'

export interface ExpressionExplanation {
  readonly matches: boolean
  /** In words: that it is true, or the first condition that is not. */
  readonly reason: string
}

/** Why an expression is true for an event or not. @throws INVALID_EXPRESSION when it does not parse */
export function explainExpression(cesql: string, event: object): ExpressionExplanation {
  const tree = parseExpression(cesql)
  if (compileTree(tree)(event) === true) return { matches: true, reason: 'the expression is true' }
  const conditions = conjunctsOf(tree)
  const failed = conditions.find((each) => compileTree(each)(event) !== true) ?? tree
  return {
    matches: false,
    reason: `${textOf(failed)} is ${outcomeText(compileTree(failed)(event))}${attributesText(failed, event)}`,
  }
}

/** The operands of a chain of ANDs, in order. */
function conjunctsOf(tree: ExpressionTree): readonly ExpressionTree[] {
  if (tree.kind !== 'chain' || !tree.rest.every(({ operator }) => operator === 'AND')) return [tree]
  return [tree.first, ...tree.rest.map(({ operand }) => operand)].flatMap(conjunctsOf)
}

function outcomeText(outcome: Evaluation): string {
  return typeof outcome === 'object' ? `an error: ${outcome.error.message}` : JSON.stringify(outcome)
}

function attributesText(tree: ExpressionTree, event: object): string {
  const names = [...new Set(namesOf(tree))]
  if (names.length === 0) return ''
  const texts = names.map((name) => {
    const value = eventAttribute(event, name)
    return value === undefined ? `${name} is missing` : `${name} is ${JSON.stringify(value)}`
  })
  return `; ${texts.join(', ')}`
}

function namesOf(tree: ExpressionTree): readonly string[] {
  switch (tree.kind) {
    case 'attribute':
    case 'exists':
      return [tree.name]
    case 'not':
    case 'negate':
      return namesOf(tree.operand)
    case 'tested':
      return [
        ...namesOf(tree.operand),
        ...tree.tests.flatMap((test) => (test.kind === 'in' ? test.set.flatMap(namesOf) : [])),
      ]
    case 'call':
      return tree.args.flatMap(namesOf)
    case 'chain':
      return [...namesOf(tree.first), ...tree.rest.flatMap(({ operand }) => namesOf(operand))]
    default:
      return []
  }
}

/** The expression as text again. */
function textOf(tree: ExpressionTree): string {
  switch (tree.kind) {
    case 'literal':
      return typeof tree.value === 'string' ? stringText(tree.value) : String(tree.value)
    case 'attribute':
      return tree.name
    case 'exists':
      return `EXISTS ${tree.name}`
    case 'not':
      return `NOT ${innerText(tree.operand)}`
    case 'negate':
      return `-${innerText(tree.operand)}`
    case 'call':
      return `${tree.name}(${tree.args.map(textOf).join(', ')})`
    case 'tested':
      return [innerText(tree.operand), ...tree.tests.map(testText)].join(' ')
    case 'chain':
      return [
        innerText(tree.first),
        ...tree.rest.map(({ operator, operand }) => `${operator} ${innerText(operand)}`),
      ].join(' ')
  }
}

function testText(test: Extract<ExpressionTree, { kind: 'tested' }>['tests'][number]): string {
  const not = test.negated ? 'NOT ' : ''
  return test.kind === 'like'
    ? `${not}LIKE ${stringText(test.pattern)}`
    : `${not}IN (${test.set.map(textOf).join(', ')})`
}

function innerText(tree: ExpressionTree): string {
  return tree.kind === 'chain' ? `(${textOf(tree)})` : textOf(tree)
}

function stringText(text: string): string {
  return `'${text.replaceAll("'", "\\'")}'`
}
