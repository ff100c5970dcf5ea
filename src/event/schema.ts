/**
 * Data and its schema: validated when an event is published, decoded when it is handled or read. A schema is the user's
 * code: it may throw, and it may return a promise.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { MillraceError } from '../base/errors.ts'
import { messageOf, promiseOf } from '../base/thrown.ts'
import { eventText } from './event-text.ts'

/**
 * What is done with the event, for error messages. `stored` is publishing, which validates the JSON form of the data.
 */
export type SchemaUse = 'published' | 'stored' | 'handled' | 'read'

/** The event that is validated; if it is stored already, with its channel and offset. */
export interface JudgedEvent {
  readonly type: string
  readonly id?: string | undefined
  readonly channel?: string
  readonly offset?: number
}

/**
 * The schema's output for the data; a promise only if the schema validates asynchronously.
 *
 * @throws SCHEMA_MISMATCH with the schema's own issues, also if the schema throws. For a handler, an error that the
 * schema throws fails the attempt, so that the attempt is repeated
 */
export function schemaOutput(schema: StandardSchemaV1, data: unknown, event: JudgedEvent, use: SchemaUse): unknown {
  let result: unknown
  let pending: Promise<unknown> | null
  try {
    result = schema['~standard'].validate(data)
    pending = promiseOf(result)
  } catch (cause) {
    throw failed(event, use, cause)
  }
  if (pending === null) return outputOf(result as StandardSchemaV1.Result<unknown>, event, use)
  return pending.then(
    (settled) => outputOf(settled as StandardSchemaV1.Result<unknown>, event, use),
    (cause) => {
      throw failed(event, use, cause)
    },
  )
}

function outputOf(result: StandardSchemaV1.Result<unknown> | undefined, event: JudgedEvent, use: SchemaUse): unknown {
  if (typeof result !== 'object' || result === null)
    throw failed(event, use, new TypeError('its validate() returned no result'))
  if (result.issues !== undefined && !Array.isArray(result.issues))
    throw failed(event, use, new TypeError('the issues of its result are not an array'))
  if (result.issues !== undefined) throw schemaMismatch(event, result.issues, use)
  return result.value
}

function failed(event: JudgedEvent, use: SchemaUse, cause: unknown): unknown {
  if (use === 'handled') return cause
  return schemaMismatch(event, [{ message: `the schema failed: ${messageOf(cause)}` }], use, cause)
}

const WHY: Readonly<Record<SchemaUse, (issues: string) => string>> = {
  published: (issues) => `cannot be published: its data does not satisfy its schema (${issues})`,
  stored: (issues) =>
    `cannot be published: its data is stored as JSON, and its schema does not accept that JSON (${issues}). ` +
    'Use a schema that accepts the JSON form: z.coerce.date() or ISO text for a Date, an optional member for undefined, plain objects for instances of classes',
  handled: (issues) => `cannot be handled: its data does not satisfy its schema (${issues})`,
  read: (issues) =>
    `cannot be read: its data does not satisfy its schema (${issues}). Read the channel by its name to get events as they are stored`,
}

function schemaMismatch(
  event: JudgedEvent,
  issues: readonly StandardSchemaV1.Issue[],
  use: SchemaUse,
  cause?: unknown,
): MillraceError {
  const { type, id, channel, offset } = event
  const shown = issues.slice(0, 5).map((issue) => {
    const path = (issue.path ?? [])
      .map((segment) => String(typeof segment === 'object' ? segment.key : segment))
      .join('.')
    return path === '' ? issue.message : `${path}: ${issue.message}`
  })
  const place = channel === undefined ? '' : ` at offset ${offset} of channel "${channel}"`
  return new MillraceError(
    'SCHEMA_MISMATCH',
    `${eventText(event)}${place} ${WHY[use](shown.join('; '))}`,
    {
      type,
      id,
      issues,
      ...(channel !== undefined && { channel, offset }),
      ...(use === 'handled' && { handled: true }),
    },
    { cause },
  )
}
