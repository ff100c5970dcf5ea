/** Refuses data that `JSON.stringify` would change or drop in silence. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'

/** What identifies the event in an error. */
interface Identified {
  readonly type: string
  readonly id?: string | undefined
}

/**
 * @throws INVALID_EVENT with `details.path` of the first value that JSON cannot carry: NaN and infinities, bigint, functions,
 * symbols, `undefined` in an array, maps, sets, buffers inside the data, invalid dates, cycles (deeper than 128)
 */
export function refuseLossyJson(data: unknown, event: Identified): void {
  const lossy = find(data, 0)
  if (lossy === undefined) return
  const path = `data${lossy.path}`
  throw new MillraceError('INVALID_EVENT', `event "${event.type}" (id ${String(event.id)}): ${path} is ${lossy.what}, which JSON cannot carry`, {
    path,
    type: event.type,
    id: event.id,
  })
}

interface Lossy {
  readonly what: string
  readonly path: string
}

function find(value: unknown, depth: number): Lossy | undefined {
  switch (typeof value) {
    case 'string':
    case 'boolean':
    case 'undefined':
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
  if (depth > LIMITS.dataDepthMax) return { what: `nested deeper than ${LIMITS.dataDepthMax} levels, or a cycle`, path: '' }
  if (Array.isArray(value)) {
    for (let index = 0; index < value.length; index++) {
      const item: unknown = value[index]
      const lossy = item === undefined ? { what: 'undefined in an array', path: '' } : find(item, depth + 1)
      if (lossy !== undefined) return { what: lossy.what, path: `[${index}]${lossy.path}` }
    }
    return undefined
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) {
    const what = lossyInstance(value)
    if (what !== undefined) return { what, path: '' }
    if ('toJSON' in value) return undefined
  }
  for (const name in value) {
    const lossy = find((value as Readonly<Record<string, unknown>>)[name], depth + 1)
    if (lossy !== undefined) return { what: lossy.what, path: `.${name}${lossy.path}` }
  }
  return undefined
}

function lossyInstance(value: object): string | undefined {
  if (value instanceof Date) return Number.isFinite(value.getTime()) ? undefined : 'an invalid Date'
  if (value instanceof Map || value instanceof Set || value instanceof WeakMap || value instanceof WeakSet) return `a ${value.constructor.name}`
  if (value instanceof RegExp || value instanceof Promise || value instanceof Error) return `a ${value.constructor.name}`
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return 'binary data inside other data (only the whole data can be a Uint8Array)'
  return undefined
}
