/**
 * CloudEvents SQL evaluated as slowly and plainly as the specification describes it. Compiled expressions are compared
 * with it.
 */
import type {
  ExpressionTest,
  ExpressionTree,
  ExpressionValue,
} from '../../../src/pattern/expression/expression-tree.ts'

/** The first error ends the evaluation; `value` is what the failed function returns according to the specification. */
class Stop extends Error {
  readonly kind: string
  readonly value: ExpressionValue | undefined
  constructor(kind: string, value?: ExpressionValue) {
    super(kind)
    this.kind = kind
    this.value = value
  }
}

export function referenceResult(
  tree: ExpressionTree,
  event: Readonly<Record<string, unknown>>,
): { value: ExpressionValue; errors: string[] } {
  try {
    return { value: evaluated(tree, event), errors: [] }
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    return { value: (tree.kind === 'call' ? error.value : undefined) ?? zeroOf(tree), errors: [error.kind] }
  }
}

function zeroOf(tree: ExpressionTree): ExpressionValue {
  if (tree.kind === 'negate' || (tree.kind === 'chain' && '+-*/%'.includes(tree.rest[0]?.operator ?? '='))) return 0
  if (tree.kind !== 'call' || !isKnown(tree.name, tree.args.length)) return false
  return ['INT', 'ABS', 'LENGTH'].includes(tree.name) ? 0 : tree.name === 'BOOL' ? false : ''
}

const COUNTS: Readonly<Record<string, readonly number[]>> = {
  LEFT: [2],
  RIGHT: [2],
  SUBSTRING: [2, 3],
  CONCAT: [0, 1, 2, 3],
  CONCAT_WS: [1, 2, 3],
  NO_SUCH: [],
}

function isKnown(name: string, count: number): boolean {
  return (COUNTS[name] ?? [1]).includes(count)
}

function evaluated(tree: ExpressionTree, event: Readonly<Record<string, unknown>>): ExpressionValue {
  switch (tree.kind) {
    case 'literal':
      return tree.value
    case 'attribute': {
      const value = attributeOf(event, tree.name)
      if (value === undefined) throw new Stop('missingAttribute')
      return value
    }
    case 'exists':
      return ['id', 'source'].includes(tree.name) || attributeOf(event, tree.name) !== undefined
    case 'not':
      return !boolean(evaluated(tree.operand, event))
    case 'negate':
      return ranged(0n - integer(evaluated(tree.operand, event)))
    case 'call':
      return called(tree.name, tree.args, event)
    case 'tested':
      return tree.tests.reduce((value, test) => tested(value, test, event), evaluated(tree.operand, event))
    case 'chain':
      return tree.rest.reduce(
        (left, { operator, operand }) => combined(left, operator, () => evaluated(operand, event)),
        evaluated(tree.first, event),
      )
  }
}

function attributeOf(event: Readonly<Record<string, unknown>>, name: string): ExpressionValue | undefined {
  const value = name === 'data' || !Object.keys(event).includes(name) ? undefined : event[name]
  if (typeof value === 'number')
    return Number.isInteger(value) && Math.abs(value + 0.5) < 2 ** 31 ? value + 0 : String(value)
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString()
  return value instanceof Uint8Array ? btoa(String.fromCharCode(...value)) : undefined
}

function combined(left: ExpressionValue, operator: string, right: () => ExpressionValue): ExpressionValue {
  if (operator === 'AND') return boolean(left) && boolean(right())
  if (operator === 'OR') return boolean(left) || boolean(right())
  if (operator === 'XOR') return boolean(left) !== boolean(right())
  const other = right()
  if (operator === '=') return castLike(other, left) === other
  if (operator === '!=') return castLike(other, left) !== other
  const [x, y] = [integer(left), integer(other)]
  if (operator === '<') return x < y
  if (operator === '<=') return x <= y
  if (operator === '>') return x > y
  if (operator === '>=') return x >= y
  if (operator === '+') return ranged(x + y)
  if (operator === '-') return ranged(x - y)
  if (operator === '*') return ranged(x * y)
  if (y === 0n) throw new Stop('math')
  return ranged(operator === '/' ? x / y : x % y)
}

function tested(value: ExpressionValue, test: ExpressionTest, event: Readonly<Record<string, unknown>>): boolean {
  if (test.kind === 'like') return like(Array.from(String(value)), Array.from(test.pattern)) !== test.negated
  return test.set.some((element) => castLike(value, evaluated(element, event)) === value) !== test.negated
}

function like(text: readonly string[], pattern: readonly string[]): boolean {
  const [first, second] = pattern
  if (first === undefined) return text.length === 0
  if (first === '%') return like(text, pattern.slice(1)) || (text.length > 0 && like(text.slice(1), pattern))
  const escaped = first === '\\' && (second === '%' || second === '_')
  if (text.length === 0 || (first !== '_' && text[0] !== (escaped ? second : first))) return false
  return like(text.slice(1), pattern.slice(escaped ? 2 : 1))
}

function called(
  name: string,
  args: readonly ExpressionTree[],
  event: Readonly<Record<string, unknown>>,
): ExpressionValue {
  if (!isKnown(name, args.length)) throw new Stop('missingFunction')
  const values = args.map((arg, index) => {
    try {
      const value = evaluated(arg, event)
      if (name === 'BOOL') return boolean(value)
      return name === 'INT' || name === 'ABS' || (index > 0 && !name.startsWith('CONCAT'))
        ? Number(integer(value))
        : String(value)
    } catch (error) {
      throw error instanceof Stop ? new Stop(error.kind) : error
    }
  })
  if (name.startsWith('CONCAT')) return name === 'CONCAT' ? values.join('') : values.slice(1).join(String(values[0]))
  const [value = '', position = 0, count = Infinity] = values
  const chars = Array.from(String(value))
  if (name === 'ABS') return value === -2147483648 ? fail('math', 2147483647) : Math.abs(Number(value))
  if (name === 'LENGTH') return chars.length
  if (name === 'LOWER') return String(value).toLowerCase()
  if (name === 'UPPER') return String(value).toUpperCase()
  if (name === 'TRIM')
    return String(value)
      .replace(/^\p{White_Space}+/u, '')
      .replace(/\p{White_Space}+$/u, '')
  const at = Number(position)
  if (name === 'LEFT') return at < 0 ? fail('functionEvaluation', value) : chars.slice(0, at).join('')
  if (name === 'RIGHT')
    return at < 0 ? fail('functionEvaluation', value) : chars.slice(Math.max(0, chars.length - at)).join('')
  if (name === 'SUBSTRING') return substring(chars, at, Number(count))
  return value
}

function substring(chars: readonly string[], at: number, count: number): string {
  if (count < 0 || Math.abs(at) > chars.length) {
    if (count < 0 || at !== 0) return fail('functionEvaluation', '') as string
  }
  return at === 0
    ? ''
    : chars
        .slice(at > 0 ? at - 1 : at)
        .slice(0, count)
        .join('')
}

function fail(kind: string, value: ExpressionValue): ExpressionValue {
  throw new Stop(kind, value)
}

function castLike(example: ExpressionValue, value: ExpressionValue): ExpressionValue {
  return typeof example === 'string'
    ? String(value)
    : typeof example === 'boolean'
      ? boolean(value)
      : Number(integer(value))
}

function boolean(value: ExpressionValue): boolean {
  if (typeof value !== 'string') return Boolean(value)
  if (!['true', 'false'].includes(value.toLowerCase())) throw new Stop('cast')
  return value.toLowerCase() === 'true'
}

function integer(value: ExpressionValue): bigint {
  if (typeof value !== 'string') return BigInt(value)
  if (!/^[+-]?\d+$/.test(value) || BigInt.asIntN(32, BigInt(value.replace('+', ''))) !== BigInt(value.replace('+', '')))
    throw new Stop('cast')
  return BigInt(value.replace('+', ''))
}

function ranged(value: bigint): number {
  if (BigInt.asIntN(32, value) !== value) throw new Stop('math')
  return Number(value)
}
