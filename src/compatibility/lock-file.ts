/**
 * `events.lock.json`: the events of a program as they were when the file was written, in the user's repository. So a
 * change of a schema is a difference that people review.
 */
import { MillraceError } from '../base/errors.ts'
import { isJsonObject, type JsonObject, jsonObject } from '../base/json-object.ts'
import { byName, type DeclaredEvent, nameOf } from './declared-events.ts'

const FORMAT = 1
/** Earlier schemas of one version that are kept for transitive modes. */
const EARLIER_MAX = 20

export interface LockedEvent extends Omit<DeclaredEvent, 'definition'> {
  /** By version: the schemas that it had before, the latest first. */
  readonly earlier: Readonly<Record<string, readonly JsonObject[]>>
}

/** The events in the text of a lock file. @throws INVALID_OPTION when the text is not a lock file of this format */
export function parseLock(text: string, path: string): LockedEvent[] {
  const refuse = (why: string): never => {
    throw new MillraceError('INVALID_OPTION', `${path} ${why}: write it again with --update`, { path })
  }
  const lock = jsonObject(text)
  if (lock === null) return refuse('is not a JSON object')
  if (lock['format'] !== FORMAT) refuse(`has format ${String(lock['format'])}, and this version reads format ${FORMAT}`)
  const { events } = lock
  if (!Array.isArray(events)) return refuse('has no list of events')
  return events.map((each: unknown) => (isLocked(each) ? each : refuse('has an event without a type or schemas')))
}

function isLocked(value: unknown): value is LockedEvent {
  if (!isJsonObject(value)) return false
  const { channel, type, version, schemas, earlier } = value
  if (channel !== null && typeof channel !== 'string') return false
  if (typeof type !== 'string' || typeof version !== 'number' || !isJsonObject(schemas) || !isJsonObject(earlier))
    return false
  return (
    Object.values(schemas).every((schema) => schema === null || isJsonObject(schema)) &&
    Object.values(earlier).every((list) => Array.isArray(list) && list.every(isJsonObject))
  )
}

/** The text of the file for these events. Schemas that change are kept as earlier ones. */
export function lockText(declared: readonly DeclaredEvent[], before: readonly LockedEvent[]): string {
  const events = [...declared].sort(byName).map((event): LockedEvent => {
    const locked = before.find((each) => nameOf(each) === nameOf(event))
    const { channel, type, version, schemas } = event
    const earlier = Object.fromEntries(
      Object.entries(schemas).flatMap(([number, schema]) => {
        const list = earlierSchemas(locked, number).filter((each) => textOf(each) !== textOf(schema))
        return list.length === 0 ? [] : [[number, list.slice(0, EARLIER_MAX)]]
      }),
    )
    return { channel, type, version, schemas, earlier }
  })
  return `${JSON.stringify(ordered({ format: FORMAT, events }), null, 2)}\n`
}

/** The schemas that a version had, the latest first. */
export function earlierSchemas(locked: LockedEvent | undefined, version: string): JsonObject[] {
  if (locked === undefined) return []
  const last = Object.hasOwn(locked.schemas, version) ? (locked.schemas[version] ?? null) : null
  const before = Object.hasOwn(locked.earlier, version) ? (locked.earlier[version] ?? []) : []
  return [...(last === null ? [] : [last]), ...before]
}

/** Schemas with the same members are the same, in whatever order a library writes them. */
export function textOf(schema: JsonObject | null): string {
  return JSON.stringify(ordered(schema))
}

function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered)
  if (!isJsonObject(value)) return value
  const members = Object.entries(value).filter(([name]) => name !== '$schema')
  return Object.fromEntries(
    members.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, member]) => [name, ordered(member)]),
  )
}
