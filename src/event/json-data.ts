/**
 * The JSON text of an event's data. Data that `JSON.stringify` would change or drop silently is refused. Changes that a
 * schema can undo (a Date becomes text, an undefined member is left out) are recorded.
 */
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { messageOf } from '../base/thrown.ts'
import { eventText } from './event-text.ts'

/** The event's name in an error. */
interface Identified {
  readonly type: string
  readonly id?: string | undefined
}

/**
 * The data as JSON text. `-0` becomes 0, as JSON has it in JavaScript.
 *
 * @throws INVALID_EVENT with `details.path` of the first value that JSON cannot carry: NaN and infinities, bigint,
 * functions, symbols, `undefined` in an array, maps, sets and other iterables, buffers inside the data, invalid dates,
 * a `toJSON()` that gives one of these or nothing, cycles (deeper than 128)
 */
export function jsonOf(data: unknown, event: Identified): string {
  altered = false
  try {
    const lossy = find(data, 0)
    if (lossy !== undefined) throw refused(event, lossy)
    const text: string | undefined = JSON.stringify(data)
    if (text === undefined) throw refused(event, NOTHING)
    return text
  } catch (cause) {
    if (isMillraceError(cause)) throw cause
    throw new MillraceError(
      'INVALID_EVENT',
      `${eventText(event)}: its data cannot be read: ${messageOf(cause)}`,
      { path: 'data', ...event },
      { cause },
    )
  }
}

/**
 * Whether the data that `jsonOf` encoded last reads back as something else, so that its schema must validate it again.
 */
export function isAltered(): boolean {
  return altered
}

let altered = false

function refused({ type, id }: Identified, { path: steps, what }: Lossy): MillraceError {
  const path = `data${shortened(steps)}`
  return new MillraceError('INVALID_EVENT', `${eventText({ type, id })}: ${path} is ${what}, which JSON cannot carry`, {
    path,
    type,
    id,
  })
}

const PATH_CHARS_MAX = 120

/** The path, without its middle if it is long: the path of a cycle repeats 128 times. */
function shortened(path: string): string {
  return path.length <= PATH_CHARS_MAX
    ? path
    : `${path.slice(0, PATH_CHARS_MAX / 2)} … ${path.slice(-PATH_CHARS_MAX / 4)}`
}

interface Lossy {
  readonly what: string
  readonly path: string
}

const NOTHING: Lossy = { what: 'an object whose toJSON() gives undefined', path: '' }

function find(value: unknown, depth: number): Lossy | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return undefined
    case 'undefined':
      altered = true
      return undefined
    case 'number':
      return Number.isFinite(value) ? undefined : { what: String(value), path: '' }
    case 'object':
      return value === null ? undefined : findInObject(value, depth)
    default:
      return { what: `a ${typeof value}`, path: '' }
  }
}

function findInObject(value: object, depth: number): Lossy | undefined {
  if (depth > LIMITS.dataDepthMax)
    return { what: `nested deeper than ${LIMITS.dataDepthMax} levels, or a cycle`, path: '' }
  if (Array.isArray(value)) {
    if ('toJSON' in value && typeof value.toJSON === 'function') {
      altered = true
      return findInForm(value as unknown as WithForm, depth)
    }
    for (let index = 0; index < value.length; index++) {
      const item: unknown = value[index]
      const lossy = item === undefined ? { what: 'undefined in an array', path: '' } : find(item, depth + 1)
      if (lossy !== undefined) return { what: lossy.what, path: `[${index}]${lossy.path}` }
    }
    return undefined
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    altered = true
    if (value instanceof Date)
      return Number.isFinite(value.getTime()) ? undefined : { what: 'an invalid Date', path: '' }
    if ('toJSON' in value && typeof value.toJSON === 'function' && !(value instanceof Uint8Array))
      return findInForm(value as WithForm, depth)
    const what = lossyInstance(value)
    if (what !== undefined) return { what, path: '' }
  }
  for (const name in value) {
    const lossy = find((value as Readonly<Record<string, unknown>>)[name], depth + 1)
    if (lossy !== undefined) return { what: lossy.what, path: `.${name}${lossy.path}` }
  }
  return undefined
}

interface WithForm {
  toJSON(): unknown
}

/** Whether it is an instance of a class with its own `toJSON`. */
function findInForm(value: WithForm, depth: number): Lossy | undefined {
  const form = value.toJSON()
  return form === undefined ? NOTHING : find(form, depth + 1)
}

function lossyInstance(value: object): string | undefined {
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer)
    return 'binary data inside other data (only the whole data can be a Uint8Array)'
  if (
    value instanceof RegExp ||
    value instanceof Promise ||
    value instanceof Error ||
    value instanceof WeakMap ||
    value instanceof WeakSet
  )
    return `a ${value.constructor.name}`
  if (value instanceof Number) return Number.isFinite(value.valueOf()) ? undefined : String(value)
  if (value instanceof BigInt || value instanceof Symbol) return `a ${typeof value.valueOf()}`
  // A string object is iterable and becomes its text. Other iterables lose their content: maps, sets, generators.
  if (!(value instanceof String) && (Symbol.iterator in value || Symbol.asyncIterator in value))
    return `a ${nameOfClass(value)}`
  return undefined
}

function nameOfClass(value: object): string {
  const { name } = value.constructor
  return name === '' || name === 'Object' ? 'iterable object' : name
}
