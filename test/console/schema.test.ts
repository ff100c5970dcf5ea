/** The form for publishing by hand: which fields a JSON Schema has, what a new value is, and what is wrong with one. */
import { describe, expect, test } from 'vitest'
import {
  branchAt,
  branchesOf,
  branchName,
  exampleOf,
  kindOf,
  problemsOf,
  resolved,
  type Schema,
  schemaOf,
} from '../../console/src/publish/schema.ts'

const order: Schema = {
  type: 'object',
  required: ['id', 'lines', 'pay', 'state', 'at'],
  additionalProperties: false,
  properties: {
    id: { type: 'string', minLength: 1 },
    at: { type: 'string', format: 'date-time' },
    state: { enum: ['open', 'paid'] },
    note: { type: ['string', 'null'] },
    lines: { type: 'array', minItems: 1, items: { $ref: '#/$defs/line' } },
    pay: {
      oneOf: [
        { type: 'object', required: ['by', 'iban'], properties: { by: { const: 'bank' }, iban: { type: 'string' } } },
        { type: 'object', required: ['by'], properties: { by: { const: 'cash' } } },
      ],
    },
  },
  ...{
    $defs: {
      line: {
        allOf: [
          { type: 'object', required: ['sku'], properties: { sku: { type: 'string' } } },
          { required: ['count'], properties: { count: { type: 'integer', minimum: 1, maximum: 99 } } },
        ],
      },
      circle: { $ref: '#/$defs/circle' },
      tree: { type: 'object', required: ['child'], properties: { child: { $ref: '#/$defs/tree' } } },
    },
  },
}

describe('a schema of an event', () => {
  test('gives a value with what is required, through references, unions and merged parts', () => {
    expect(exampleOf(order, order)).toEqual({
      id: '',
      at: expect.stringMatching(/Z$/),
      state: 'open',
      lines: [{ sku: '', count: 1 }],
      pay: { by: 'bank', iban: '' },
    })
  })

  test('says what is wrong with a value, and where', () => {
    const value = {
      id: '',
      at: 'yesterday',
      state: 'lost',
      note: 5,
      lines: [{ sku: 'a', count: 1.5 }, { count: 100 }],
      pay: { by: 'cash' },
      other: 1,
    }
    expect(problemsOf(order, value, order).map(({ path, text }) => `${path} ${text}`)).toEqual([
      '/id it is empty',
      '/at it must be a time such as 2026-11-29T12:00:00Z',
      '/state it is none of the choices',
      '/note it must be text',
      '/lines/0/count it must be a whole number',
      '/lines/1/sku it is missing',
      '/lines/1/count it must be at most 99',
      '/other the schema does not know it',
    ])
    expect(problemsOf(order, { ...value, lines: [] }, order).map(({ path }) => path)).toContain('/lines')
    expect(problemsOf(order, undefined, order)).toEqual([{ path: '', text: 'it is missing' }])
  })

  test('knows which branch of a union a value is of, and names the branches', () => {
    const pay = resolved(order.properties?.['pay'] ?? {}, order)
    const branches = branchesOf(pay) ?? []
    expect(kindOf(pay)).toBe('union')
    expect(branches.map((branch) => branchName(branch, order))).toEqual(['by: bank', 'by: cash'])
    expect(branchAt(branches, { by: 'cash' }, order)).toBe(1)
    expect(branchAt(branches, { by: 'bank', iban: 'x' }, order)).toBe(0)
    expect(branchesOf(order.properties?.['note'] ?? {})?.map(kindOf)).toEqual(['text', 'null'])
  })

  test('may refer to itself: the form ends', () => {
    const circle: Schema = { ...order, $ref: '#/$defs/circle' }
    expect(resolved(circle, order)).toEqual({})
    const tree: Schema = { ...order, $ref: '#/$defs/tree' }
    expect(JSON.stringify(exampleOf({ $ref: '#/$defs/tree' }, tree)).length).toBeLessThan(500)
    let deep: unknown = {}
    for (let depth = 0; depth < 5000; depth++) deep = { child: deep }
    expect(problemsOf({ $ref: '#/$defs/tree' }, deep, order)).toEqual([])
    expect(kindOf(resolved({ $ref: 'https://elsewhere.example/schema' }, order))).toBe('json')
    expect(kindOf(resolved({ $ref: '#/constructor/prototype' }, order))).toBe('json')
  })

  test('is guessed from a stored event where none is known', () => {
    expect(schemaOf({ a: 1, b: ['x'], c: { d: true }, e: null })).toEqual({
      type: 'object',
      properties: {
        a: { type: 'number' },
        b: { type: 'array', items: { type: 'string' } },
        c: { type: 'object', properties: { d: { type: 'boolean' } } },
        e: {},
      },
    })
  })
})
