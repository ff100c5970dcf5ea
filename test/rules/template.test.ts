import { describe, expect, it } from 'vitest'
import { compileTemplate, compileTextTemplate } from '../../src/rules/template/template.ts'
import { TEMPLATE_FUNCTIONS } from '../../src/rules/template/template-functions.ts'

const event = {
  type: 'cart.item.added',
  subject: 'c-1',
  data: {
    cart: 'c-1',
    n: 2,
    price: 4.5,
    none: null,
    yes: true,
    empty: '',
    items: [{ sku: 'tea' }, { sku: 'cup', 'odd name': 7 }],
    tags: ['a', 'b'],
    when: 0,
  },
}
const scope = { event, facts: { channel: 'carts', offset: 17, key: null, rule: 'r' } }
const render = (source: unknown): unknown => compileTemplate(source, 'data').render(scope)
const missing = (source: string): unknown => render({ value: source, other: 1 })

describe('templates', () => {
  it.each([
    ['{{ data.n }}', 2],
    ['{{data.items[0].sku}}', 'tea'],
    ['{{ data.items[-1]["odd name"] }}', 7],
    ['{{ data["cart"] }}', 'c-1'],
    ['{{ data.items }}', event.data.items],
    ['{{ data.none }}', null],
    ['{{ data.yes }}', true],
    ['{{ $channel }}/{{ $offset }} by {{ $rule }}', 'carts/17 by r'],
    ['{{ "{{" }} {{ \'}}\' }}', '{{ }}'],
    ['{{ "a\\"b\\u0041" }}', 'a"bA'],
    ["{{ 'a\\'b\"c' }}", 'a\'b"c'],
    ['{{ 1.5e2 }}', 150],
    [
      'n={{ data.n }}, tags={{ data.tags }}, none={{ data.none }}, gone={{ data.gone }}.',
      'n=2, tags=["a","b"], none=, gone=.',
    ],
    ['no braces } { }} here', 'no braces } { }} here'],
    ['', ''],
  ])('%j gives %j', (source, value) => expect(render(source)).toEqual(value))

  it('leave out a missing member, make a missing element null, and write nothing for a missing part of a text', () => {
    expect(
      render({
        a: '{{ data.gone }}',
        b: { c: '{{ data.n.deeper }}' },
        d: ['{{ gone }}', 1],
        e: 'x{{ gone }}y',
        f: '{{ data.none }}',
      }),
    ).toEqual({
      b: {},
      d: [null, 1],
      e: 'xy',
      f: null,
    })
    expect(typeof render('{{ gone }}')).toBe('symbol')
  })

  it('read only own members of the event', () => {
    for (const path of [
      'constructor',
      'data.__proto__',
      'data.constructor.name',
      'data.items.length',
      'data.cart.length',
      'data.toString',
      'data.items[9]',
      'data.items.push',
    ])
      expect(missing(`{{ ${path} }}`)).toEqual({ other: 1 })
    const made = render(JSON.parse('{"__proto__": "{{ data.n }}"}')) as object
    expect(Object.getPrototypeOf(made)).toBe(Object.prototype)
    expect(Object.hasOwn(made, '__proto__')).toBe(true)
  })

  it('of attributes give no attribute if they are empty', () => {
    expect(compileTextTemplate('{{ data.gone }}', 'x').render(scope)).toBeUndefined()
    expect(compileTextTemplate('{{ data.n }}', 'x').render(scope)).toBe('2')
  })

  const examples: Readonly<Record<string, readonly (readonly [string, unknown])[]>> = {
    default: [
      ['{{ data.gone | default "x" }}', 'x'],
      ['{{ data.none | default 0 }}', 0],
      ['{{ data.empty | default "x" }}', ''],
    ],
    required: [['{{ data.n | required }}', 2]],
    exists: [
      ['{{ data.gone | exists }}', false],
      ['{{ data.none | exists }}', true],
    ],
    string: [
      ['{{ data.n | string }}', '2'],
      ['{{ data.gone | string }}', ''],
    ],
    number: [['{{ "4" | number }}', 4]],
    boolean: [['{{ "true" | boolean }}', true]],
    json: [['{{ data.tags | json }}', '["a","b"]']],
    upper: [['{{ data.cart | upper }}', 'C-1']],
    lower: [['{{ "ABC" | lower }}', 'abc']],
    trim: [['{{ " a " | trim }}', 'a']],
    urlencode: [['{{ "a b/c" | urlencode }}', 'a%20b%2Fc']],
    base64: [['{{ "tea" | base64 }}', 'dGVh']],
    replace: [['{{ type | replace "." "/" }}', 'cart/item/added']],
    split: [['{{ type | split "." }}', ['cart', 'item', 'added']]],
    slice: [
      ['{{ type | slice 5 9 }}', 'item'],
      ['{{ data.tags | slice -1 }}', ['b']],
    ],
    join: [
      ['{{ data.tags | join "-" }}', 'a-b'],
      ['{{ data.tags | join }}', 'a, b'],
    ],
    first: [['{{ data.tags | first }}', 'a']],
    last: [['{{ data.tags | last }}', 'b']],
    pluck: [['{{ data.items | pluck "sku" }}', ['tea', 'cup']]],
    size: [
      ['{{ data.items | size }}', 2],
      ['{{ "☕☕" | size }}', 2],
    ],
    plus: [['{{ data.n | plus 1 }}', 3]],
    minus: [['{{ data.n | minus 3 }}', -1]],
    times: [['{{ data.price | times 100 }}', 450]],
    over: [['{{ data.price | over 2 }}', 2.25]],
    round: [
      ['{{ 2.346 | round 2 }}', 2.35],
      ['{{ 2.6 | round }}', 3],
    ],
    iso: [['{{ data.when | iso }}', '1970-01-01T00:00:00.000Z']],
  }
  it('have an example of every function in this test', () =>
    expect(Object.keys(examples).sort()).toEqual(Object.keys(TEMPLATE_FUNCTIONS).sort()))
  it.each(Object.values(examples).flat())('%s gives %j', (source, value) => expect(render(source)).toEqual(value))

  it.each(['upper', 'number', 'json', 'first', 'join "x"', 'plus 1', 'size'])(
    'a missing value stays missing through %s',
    (call) => {
      expect(missing(`{{ data.gone | ${call} }}`)).toEqual({ other: 1 })
    },
  )

  it.each([
    ['{{ data.gone | required }}', 'required'],
    ['{{ data.cart | number }}', '"number" takes a number'],
    ['{{ data.n | over 0 }}', 'is not a number that JSON can hold'],
    ['{{ data.items | upper }}', '"upper" takes a string, not an array'],
    ['{{ data.none | join }}', 'not null'],
    ['{{ "x" | iso }}', 'takes a time'],
    ['{{ "x" | boolean }}', 'takes true, false'],
    ['{{ data.cart | replace "" "x" }}', 'empty text'],
  ])('%s fails', (source, reason) => expect(() => render(source)).toThrow(reason))

  it.each([
    ['{{ data.n', '"|" and a function, or "}}", are expected, at character 10 (its end)'],
    ['{{ }}', 'a path such as data.sku'],
    ['{{ data..n }}', 'a name is expected after the dot'],
    ['{{ data[x] }}', 'a number or a name in quotes'],
    ['{{ $secret }}', 'there is no $secret'],
    ['{{ data.n | constructor }}', 'there is no function "constructor"'],
    ['{{ data.n | default }}', '"default" takes 1 argument, not 0'],
    ['{{ data.n | upper 1 }}', '"upper" takes 0 arguments, not 1'],
    ['{{ "\\x" }}', 'escape'],
  ])('%j is refused', (source, reason) => expect(() => compileTemplate(source, 'data')).toThrow(reason))

  it('cannot fill the memory', () => {
    const big = {
      event: { data: { text: 'a'.repeat(1_000_000), list: Array.from({ length: 100_000 }, () => 'x') } },
      facts: {},
    }
    for (const source of [
      '{{ data.text | replace "a" "aaaaaaaaaaaaaaaa" }}',
      `{{ data.list | join "${'x'.repeat(1000)}" }}`,
      '{{ data.text }}{{ data.text }}',
    ])
      expect(() => compileTemplate(source, 'data').render(big)).toThrow('more than 1048576 characters')
    expect(() => compileTemplate('{{ a }}'.repeat(1001), 'data')).toThrow('at most 1000 expressions')
    expect(() => compileTemplate('x'.repeat(20_000), 'data')).toThrow('at most 16384 characters')
  })
})
