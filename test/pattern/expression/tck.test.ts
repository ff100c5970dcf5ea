import { readFileSync } from 'node:fs'
import { isMillraceError } from 'millrace'
import { type CompiledExpression, compileExpression } from 'millrace/pattern'
import { describe, expect, it } from 'vitest'

const SUITE = new URL('../../fixtures/suites/cesql-tck.json', import.meta.url)

interface Case {
  readonly id: string
  readonly name: string
  readonly expression: string
  readonly result?: string | number | boolean
  readonly error: string | null
  readonly event?: object
  readonly eventOverrides?: object
}

interface Suite {
  readonly defaultEvent: object
  readonly cases: readonly Case[]
}

/** Cases that contradict the text of the specification, with the result that the text requires. */
const WRONG: Readonly<Record<string, { readonly result: boolean; readonly error: null; readonly because: string }>> = {
  'not_operator#5': {
    result: false,
    error: null,
    because: 'an integer casts to a boolean without an error (3.7), so NOT 10 is false',
  },
}

/** The expression, or `undefined` if it must not parse. */
function compiled(each: Case): CompiledExpression | undefined {
  if (each.error !== 'parse') return compileExpression(each.expression)
  try {
    compileExpression(each.expression)
  } catch (error) {
    if (isMillraceError(error, 'INVALID_EXPRESSION')) return undefined
    throw error
  }
  throw new Error(`${each.expression} parses`)
}

const { defaultEvent, cases } = JSON.parse(readFileSync(SUITE, 'utf8')) as Suite
const rows = cases.map((each) => ({ ...each, title: `${each.id} ${each.name}`, ...WRONG[each.id] }))
const eventOf = (each: Case): object => ({ ...(each.event ?? defaultEvent), ...each.eventOverrides })

describe('the conformance suite of CloudEvents SQL', () => {
  it('has 275 cases, and knows the ones that are wrong', () => {
    expect(rows).toHaveLength(275)
    expect(Object.keys(WRONG).filter((id) => !rows.some((row) => row.id === id))).toEqual([])
  })

  it.each(rows)('as a value: $title', (each) => {
    const result = compiled(each)?.evaluate(eventOf(each))
    if (result === undefined) return
    expect({ value: result.value, errors: result.errors.map(({ kind }) => kind) }).toEqual({
      value: each.result,
      errors: each.error === null ? [] : [each.error],
    })
  })

  it.each(rows)('as a filter: $title', (each) => {
    const expression = compiled(each)
    if (expression !== undefined)
      expect(expression.matches(eventOf(each))).toBe(each.result === true && each.error === null)
  })
})
