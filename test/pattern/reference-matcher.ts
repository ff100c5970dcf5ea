/**
 * The event-pattern language in its plainest form, to check the real matchers: all combinations are listed and every
 * assignment is tried. It shares no code with `src/pattern`. It takes patterns as parsed JSON and events as `Json`, in
 * which numbers stay as written.
 */

/** A number as written. */
export interface Num {
  readonly num: string
}
/** An object as written: keys may repeat. */
export interface Obj {
  readonly obj: readonly (readonly [string, Json])[]
}
export type Json = string | boolean | null | Num | Obj | readonly Json[]

/** JSON text, with `space` wherever white space is allowed. */
export function toText(value: Json, space = ''): string {
  if (typeof value === 'string' || typeof value === 'boolean' || value === null) return JSON.stringify(value)
  if ('num' in value) return value.num
  const join = (parts: readonly string[]): string => parts.map((part) => `${space}${part}${space}`).join(',')
  if ('obj' in value)
    return `{${join(value.obj.map(([key, each]) => `${JSON.stringify(key)}${space}:${space}${toText(each, space)}`))}${space}}`
  return `[${join(value.map((each) => toText(each, space)))}${space}]`
}

type Scalar = string | boolean | null | Num
interface Value {
  readonly path: string
  readonly scalar: Scalar
  /** The element of each array that contains the value. */
  readonly places: ReadonlyMap<number, number>
}

export function flatten(event: Obj): Value[] {
  const values: Value[] = []
  let arrays = 0
  const visit = (value: Json, path: string, places: ReadonlyMap<number, number>): void => {
    if (typeof value !== 'object' || value === null || 'num' in value) {
      values.push({ path, scalar: value, places })
    } else if ('obj' in value) {
      for (const [key, each] of new Map(value.obj)) visit(each, `${path}.${key}`, places)
    } else {
      const array = arrays++
      value.forEach((each, index) => {
        const scalar = typeof each !== 'object' || each === null || 'num' in each
        visit(each, path, scalar ? places : new Map([...places, [array, index]]))
      })
    }
  }
  for (const [key, each] of new Map(event.obj)) visit(each, key, new Map())
  return values
}

type Pattern = { readonly [key: string]: unknown }
type Combination = ReadonlyMap<string, readonly unknown[]>

/**
 * Every combination of `$or` branches. Keys are applied in the order in which they are written, and later ones replace
 * earlier ones.
 */
function expand(pattern: Pattern, prefix: string | null, before: readonly Combination[]): readonly Combination[] {
  let combinations = before
  for (const [key, value] of Object.entries(pattern)) {
    const path = prefix === null ? key : `${prefix}.${key}`
    if (key === '$or') combinations = (value as Pattern[]).flatMap((branch) => expand(branch, prefix, combinations))
    else if (Array.isArray(value))
      combinations = combinations.map((each) => new Map([...each, [path, value as unknown[]]]))
    else combinations = expand(value as Pattern, path, combinations)
  }
  return combinations
}

export function referenceMatches(pattern: Pattern, event: Obj): boolean {
  const values = flatten(event)
  return expand(pattern, null, [new Map()]).some((combination) => {
    const fields = [...combination].sort(([a], [b]) => (a < b ? -1 : 1))
    return assign(fields, values, new Map())
  })
}

function assign(
  fields: readonly (readonly [string, readonly unknown[]])[],
  values: readonly Value[],
  places: ReadonlyMap<number, number>,
): boolean {
  const [field, ...rest] = fields
  if (field === undefined) return true
  const [path, alternatives] = field
  const here = values.filter(
    (value) =>
      value.path === path && [...value.places].every(([array, index]) => (places.get(array) ?? index) === index),
  )
  if (here.length === 0 && alternatives.some((each) => isOperator(each, 'exists') && each.exists === false))
    return assign(rest, values, places)
  return here.some(
    (value) =>
      alternatives.some((each) => satisfies(each, value.scalar)) &&
      assign(rest, values, new Map([...places, ...value.places])),
  )
}

function isOperator<Name extends string>(value: unknown, name: Name): value is { readonly [K in Name]: unknown } {
  return typeof value === 'object' && value !== null && name in value
}

/** Significant digits and exponent, so that equal numbers have equal texts. */
function normal(text: string): string {
  const [, sign, whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d+)(?:\.(\d*))?(?:e([+-]?\d+))?$/i.exec(text) ?? []
  const digits = (whole + fraction).replace(/^0+/, '')
  const trimmed = digits.replace(/0+$/, '')
  return trimmed === ''
    ? '0'
    : `${sign}${trimmed}e${Number(exponent) - fraction.length + digits.length - trimmed.length}`
}

/** The double of a number if it is exactly as written; otherwise undefined. */
function exact(scalar: Scalar): number | undefined {
  if (typeof scalar !== 'object' || scalar === null) return undefined
  const value = Number(scalar.num)
  return Number.isFinite(value) && normal(String(value)) === normal(scalar.num) ? value : undefined
}

function address(text: unknown): string | undefined {
  if (typeof text !== 'string') return undefined
  if (/^\d+(\.\d+){3}$/.test(text)) {
    const bytes = text.split('.').map(Number)
    return bytes.every((byte) => byte < 256)
      ? bytes.map((byte) => byte.toString(2).padStart(8, '0')).join('')
      : undefined
  }
  if (!/^[0-9a-f:]*:[0-9a-f:]*$/i.test(text) || text.split('::').length > 2) return undefined
  const [head = '', tail] = text.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const fill = 8 - left.length - right.length
  if (tail === undefined ? fill !== 0 : fill < 1) return undefined
  const groups = [...left, ...new Array<string>(fill).fill('0'), ...right]
  if (groups.some((group) => !/^[0-9a-f]{1,4}$/i.test(group))) return undefined
  const bits = groups.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0')).join('')
  return /^0{80}1{16}/.test(bits) ? bits.slice(96) : bits
}

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')

function ignoreCase(text: string): string {
  return [...text].map((char) => `(?:${escaped(char.toLowerCase())}|${escaped(char.toUpperCase())})`).join('')
}

function wildcard(text: string): string {
  return text.replace(/\\(.)|\*|[^\\*]+/gs, (part, char: string | undefined) =>
    char !== undefined ? escaped(char) : part === '*' ? '.*' : escaped(part),
  )
}

/** A string operator as a regular expression. */
function expression(operator: string, operand: unknown): RegExp {
  const inner = isOperator(operand, 'equals-ignore-case')
    ? ignoreCase(String(operand['equals-ignore-case']))
    : escaped(String(operand))
  if (operator === 'prefix') return new RegExp(`^${inner}`, 's')
  if (operator === 'suffix') return new RegExp(`${inner}$`, 's')
  if (operator === 'equals-ignore-case') return new RegExp(`^${ignoreCase(String(operand))}$`, 's')
  return new RegExp(`^${wildcard(String(operand))}$`, 's')
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? (value as unknown[]) : [value]
}

function satisfies(alternative: unknown, scalar: Scalar): boolean {
  if (typeof alternative === 'number') return exact(scalar) === alternative
  if (typeof alternative === 'string') {
    const bits = address(alternative)
    return bits === undefined ? scalar === alternative : address(scalar) === bits
  }
  if (typeof alternative !== 'object' || alternative === null) return scalar === alternative
  const [operator, operand] = Object.entries(alternative)[0] as [string, unknown]
  switch (operator) {
    case 'exists':
      return operand === true
    case 'exactly':
      return scalar === operand
    case 'numeric':
      return compares(operand as readonly (string | number)[], exact(scalar))
    case 'cidr': {
      const [base = '', length = ''] = String(operand).split('/')
      const bits = address(scalar)
      const block = address(base) ?? ''
      return bits !== undefined && bits.length === block.length && bits.startsWith(block.slice(0, Number(length)))
    }
    case 'anything-but':
      if (typeof operand === 'object' && operand !== null && !Array.isArray(operand)) {
        const [name, texts] = Object.entries(operand)[0] as [string, unknown]
        return typeof scalar !== 'string' || !list(texts).some((text) => expression(name, text).test(scalar))
      }
      return !list(operand).some((each) => (typeof each === 'number' ? exact(scalar) === each : scalar === each))
    default:
      return typeof scalar === 'string' && expression(operator, operand).test(scalar)
  }
}

function compares(range: readonly (string | number)[], value: number | undefined): boolean {
  if (value === undefined) return false
  const tests: Readonly<Record<string, (bound: number) => boolean>> = {
    '=': (bound) => value === bound,
    '<': (bound) => value < bound,
    '<=': (bound) => value <= bound,
    '>': (bound) => value > bound,
    '>=': (bound) => value >= bound,
  }
  for (let at = 0; at < range.length; at += 2)
    if (tests[range[at] as string]?.(range[at + 1] as number) !== true) return false
  return true
}
