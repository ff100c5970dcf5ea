import { readFileSync } from 'node:fs'
import { isMillraceError } from 'millrace'
import { compileExpression } from 'millrace/pattern'
import { describe, expect, it } from 'vitest'
import { FUNCTION_NAMES } from '../../../src/pattern/expression/expression-functions.ts'

const page = readFileSync(new URL('../../../docs/cesql.md', import.meta.url), 'utf8')
const event = JSON.parse(/```json\n([^`]+)```/.exec(page)?.[1] ?? 'null') as object

/** | `expression` | `value` `error`, if any | remark | */
const rows = Array.from(
  page.matchAll(/^\| `(.+?)` \| `([^`]+)`(?: `(\w+)`)? \|.*\|$/gm),
  ([, expression = '', value = '', error]) => ({
    expression,
    value,
    error,
  }),
)
const refused = Array.from(
  page.slice(page.indexOf('These do not parse')).matchAll(/^\| `(.+?)` \| [^`|]+(?:`[^`]+`)? \|$/gm),
  ([, expression = '']) => expression,
)

describe('docs/cesql.md', () => {
  it('has rows', () => {
    expect(rows.length).toBeGreaterThan(50)
    expect(refused).toHaveLength(7)
  })

  it.each(rows)('$expression', ({ expression, value, error }) => {
    const result = compileExpression(expression).evaluate(event)
    expect(result.value).toBe(JSON.parse(value))
    expect(result.errors.map(({ kind }) => kind)).toEqual(error === undefined ? [] : [error])
  })

  it.each(refused)('%s does not parse', (expression) => {
    let thrown: unknown
    try {
      compileExpression(expression)
    } catch (error) {
      thrown = error
    }
    expect(isMillraceError(thrown, 'INVALID_EXPRESSION')).toBe(true)
  })

  it('shows every operator and function', () => {
    const all = rows.map(({ expression }) => ` ${expression} `).join('\n')
    const operators = [
      'NOT',
      'LIKE',
      'NOT LIKE',
      'EXISTS',
      'IN',
      'NOT IN',
      'AND',
      'OR',
      'XOR',
      ...'*/%+-=<>',
      '!=',
      '<>',
      '<=',
      '>=',
    ]
    expect(operators.filter((operator) => !all.includes(` ${operator} `))).toEqual([])
    expect(FUNCTION_NAMES.filter((name) => !all.includes(` ${name}(`))).toEqual([])
  })
})
