/**
 * A key as data: the path of a member of the event's data, or the name of an attribute. Every process, in any language,
 * derives the same key from it.
 */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import type { NewEvent } from '../event/cloud-event.ts'
import type { AnyEventDefinition, InputOf } from '../event/event.ts'
import { eventText } from '../event/event-text.ts'

/**
 * A channel's key in the stored declaration: a path; a mark for a function, which only the application has; or `null`
 * for no key.
 */
export type KeySpec = { readonly path: string } | 'function' | null

export type KeyFunction = (event: NewEvent) => string | undefined

type Leaf = string | number
type Deep = readonly [1, 1, 1, 1, 1, 1]

/** Dotted paths of the members that are always present and are text or numbers. */
type PathsIn<Data, Depth extends readonly unknown[] = readonly []> = unknown extends Data
  ? string
  : Depth['length'] extends Deep['length']
    ? never
    : Data extends readonly unknown[] | ((...given: never) => unknown)
      ? never
      : Data extends object
        ? { [Name in keyof Data & string]-?: PathsAt<Name, Data[Name], readonly [...Depth, 1]> }[keyof Data & string]
        : never

type PathsAt<Name extends string, Value, Depth extends readonly unknown[]> = unknown extends Value
  ? Name | `${Name}.${string}`
  : [Value] extends [Leaf]
    ? Name
    : `${Name}.${PathsIn<Value, Depth>}`

/** For a channel that carries any event, the data is `never`. */
type InData<Data> = [Data] extends [never] ? string : PathsIn<Data>

/** The members that all definitions have: every event of a channel needs the key. */
type InEvery<Definition> = (
  Definition extends AnyEventDefinition
    ? (path: `data.${InData<InputOf<Definition>>}`) => void
    : never
) extends (path: infer Path) => void
  ? Path
  : never

/**
 * The paths that can be a channel's key: `data.order`, with the members that the schemas of the channel's events have,
 * or the name of an attribute.
 */
export type KeyPath<Definition extends AnyEventDefinition, Path extends string = string> = Path extends `data.${string}`
  ? Path & InEvery<Definition>
  : Path

const ATTRIBUTE = /^[a-z0-9]{1,100}$/
const SEGMENTS_MAX = 32
const CHARS_MAX = 1000

/**
 * Checks the path of a key.
 * @throws INVALID_OPTION when it is neither a path into the data nor the name of an attribute
 */
export function checkKeyPath(value: unknown, of: string): string {
  if (typeof value === 'string' && value.length <= CHARS_MAX && value !== 'data') {
    const [first, ...rest] = value.split('.') as [string, ...string[]]
    if (rest.length === 0 && ATTRIBUTE.test(first)) return value
    if (first === 'data' && rest.length <= SEGMENTS_MAX && rest.every((segment) => segment !== '')) return value
  }
  throw new MillraceError(
    'INVALID_OPTION',
    `key of ${of} must be a function, false for none, a path such as "data.order", or the name of an attribute such as "subject"; it is ${shown(value)}`,
    { option: 'key' },
  )
}

/** The function for a path. It throws if the event has no value there. */
export function keyAtPath(path: string, channel: string): KeyFunction {
  const [first, ...rest] = path.split('.') as [string, ...string[]]
  return (event) => {
    let value: unknown = rest.length === 0 ? attributeOf(event, first) : event.data
    for (const segment of rest) value = memberOf(value, segment)
    if (typeof value === 'string' && value !== '') return value
    // The same text in every language, and never "1e+21".
    if (Number.isSafeInteger(value)) return String(value)
    const why = value === undefined ? 'there is nothing' : `it is ${shown(value)}`
    throw new MillraceError(
      'INVALID_EVENT',
      `the key of channel "${channel}" is ${path}, which must be text or a whole number in ${eventText(event)}: ${why}`,
      { channel, type: event.type, id: event.id, key: path },
    )
  }
}

function attributeOf(event: NewEvent, name: string): unknown {
  return memberOf(event.extensions, name) ?? memberOf(event, name)
}

/** Own members only: JSON does not store inherited ones. */
function memberOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined
}

/** The key function of a channel with `key: false`: the event's `partitionkey` is not its key either. */
export function noKey(): undefined {
  return undefined
}

/** The key function of a process that knows only the stored declaration of the channel. */
export function keptKey(key: KeySpec | undefined, channel: string): KeyFunction | undefined {
  if (key === undefined) return undefined
  if (key === null) return noKey
  if (key !== 'function') return keyAtPath(key.path, channel)
  return (event) => event.partitionkey ?? refuseKeyless(channel, event)
}

/** Refuses an event without a key. @throws INVALID_EVENT always */
export function refuseKeyless(channel: string, { type, id }: Pick<NewEvent, 'type' | 'id'>): never {
  throw new MillraceError(
    'INVALID_EVENT',
    `${eventText({ type, id })} has no key: the channel "${channel}" has a key function, which only the application has. ` +
      "Give the key in the attribute partitionkey, or declare the channel with a path: key: 'data.order'",
    { channel, type, id, key: 'function' },
  )
}
