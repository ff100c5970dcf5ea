/**
 * The functions of templates. Each takes the value before the bar and its arguments, and returns a value. A missing
 * value stays missing, except for `default`, `required`, `exists` and `string`. A value that a function cannot take
 * fails the action.
 */
import { LIMITS } from '../../base/limits.ts'
import { asText, MISSING, percentEncoded, TemplateFailure, type TemplateValue } from './template-value.ts'

export interface TemplateFunction {
  /** The least and the greatest number of arguments. */
  readonly takes: readonly [number, number]
  /** Whether the function is also called for a missing value. */
  readonly seesMissing?: true
  readonly apply: (value: TemplateValue, args: readonly TemplateValue[], name: string) => TemplateValue
}

function need(value: TemplateValue, kind: 'string' | 'number' | 'array', name: string): never {
  const what = value === null ? 'null' : Array.isArray(value) ? 'an array' : `a ${typeof value}`
  throw new TemplateFailure(
    `"${name}" takes ${kind === 'array' ? 'an array' : `a ${kind}`}, not ${value === MISSING ? 'a missing value' : what}`,
  )
}

function text(value: TemplateValue, name: string): string {
  if (typeof value === 'string') return value
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : need(value, 'string', name)
}

function number(value: TemplateValue, name: string): number {
  const found = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
  return typeof found === 'number' && Number.isFinite(found) ? found : need(value, 'number', name)
}

function list(value: TemplateValue, name: string): readonly unknown[] {
  return Array.isArray(value) ? value : need(value, 'array', name)
}

/** Limits the text that a function makes. */
function bounded(chars: number, name: string): void {
  if (chars > LIMITS.templateTextCharsMax)
    throw new TemplateFailure(`"${name}" would make a text of more than ${LIMITS.templateTextCharsMax} characters`)
}

function replaced(value: string, from: string, to: string, name: string): string {
  if (from === '') throw new TemplateFailure(`"${name}" cannot replace an empty text`)
  const parts = value.split(from)
  bounded(value.length + (parts.length - 1) * (to.length - from.length), name)
  return parts.join(to)
}

function joined(value: readonly unknown[], separator: string, name: string): string {
  const texts = value.map(asText)
  bounded(
    texts.reduce((sum, each) => sum + each.length + separator.length, 0),
    name,
  )
  return texts.join(separator)
}

function size(value: TemplateValue, name: string): number {
  if (typeof value === 'string') return [...value].length
  if (Array.isArray(value)) return value.length
  return typeof value === 'object' && value !== null ? Object.keys(value).length : need(value, 'array', name)
}

function finite(value: number, name: string): number {
  if (Number.isFinite(value)) return value
  throw new TemplateFailure(`the result of "${name}" is not a number that JSON can hold`)
}

function moment(value: TemplateValue, name: string): string {
  const time = new Date(typeof value === 'number' ? value : text(value, name))
  if (Number.isFinite(time.getTime())) return time.toISOString()
  throw new TemplateFailure(`"${name}" takes a time: milliseconds since the epoch or an RFC 3339 text`)
}

function round(value: TemplateValue, args: readonly TemplateValue[], name: string): number {
  const digits = args.length === 0 ? 0 : number(args[0], name)
  if (!Number.isInteger(digits) || digits < 0 || digits > 15)
    throw new TemplateFailure(`"${name}" takes 0 to 15 digits`)
  return Number(number(value, name).toFixed(digits))
}

const one = (apply: (value: string) => TemplateValue): TemplateFunction => ({
  takes: [0, 0],
  apply: (value, _args, name) => apply(text(value, name)),
})
const maths = (apply: (a: number, b: number) => number): TemplateFunction => ({
  takes: [1, 1],
  apply: (value, args, name) => finite(apply(number(value, name), number(args[0], name)), name),
})

function truth(value: TemplateValue, name: string): boolean {
  if (typeof value === 'boolean') return value
  if (value === 'true' || value === 'false') return value === 'true'
  throw new TemplateFailure(`"${name}" takes true, false, "true" or "false"`)
}

export const TEMPLATE_FUNCTIONS: Readonly<Record<string, TemplateFunction>> = {
  default: {
    takes: [1, 1],
    seesMissing: true,
    apply: (value, args) => (value === MISSING || value === null ? args[0] : value),
  },
  required: {
    takes: [0, 0],
    seesMissing: true,
    apply: (value) => {
      if (value !== MISSING && value !== null) return value
      throw new TemplateFailure('a value that is required is missing')
    },
  },
  exists: { takes: [0, 0], seesMissing: true, apply: (value) => value !== MISSING },
  string: { takes: [0, 0], seesMissing: true, apply: asText },
  number: { takes: [0, 0], apply: (value, _args, name) => number(value, name) },
  boolean: { takes: [0, 0], apply: (value, _args, name) => truth(value, name) },
  json: { takes: [0, 0], apply: (value) => JSON.stringify(value) },
  upper: one((value) => value.toUpperCase()),
  lower: one((value) => value.toLowerCase()),
  trim: one((value) => value.trim()),
  urlencode: one(percentEncoded),
  base64: one((value) => Buffer.from(value).toString('base64')),
  replace: {
    takes: [2, 2],
    apply: (value, args, name) => replaced(text(value, name), text(args[0], name), text(args[1], name), name),
  },
  split: { takes: [1, 1], apply: (value, args, name) => text(value, name).split(text(args[0], name)) },
  slice: {
    takes: [1, 2],
    apply: (value, args, name) => {
      const [from, to] = [number(args[0], name), args.length > 1 ? number(args[1], name) : undefined]
      return Array.isArray(value) ? value.slice(from, to) : [...text(value, name)].slice(from, to).join('')
    },
  },
  join: {
    takes: [0, 1],
    apply: (value, args, name) => joined(list(value, name), args.length === 0 ? ', ' : text(args[0], name), name),
  },
  first: { takes: [0, 0], apply: (value, _args, name) => list(value, name)[0] ?? MISSING },
  last: { takes: [0, 0], apply: (value, _args, name) => list(value, name).at(-1) ?? MISSING },
  pluck: {
    takes: [1, 1],
    apply: (value, args, name) =>
      list(value, name).map((each) =>
        typeof each === 'object' && each !== null && Object.hasOwn(each, text(args[0], name))
          ? ((each as Record<string, unknown>)[text(args[0], name)] ?? null)
          : null,
      ),
  },
  size: { takes: [0, 0], apply: (value, _args, name) => size(value, name) },
  plus: maths((a, b) => a + b),
  minus: maths((a, b) => a - b),
  times: maths((a, b) => a * b),
  over: maths((a, b) => a / b),
  round: { takes: [0, 1], apply: round },
  iso: { takes: [0, 0], apply: (value, _args, name) => moment(value, name) },
}
