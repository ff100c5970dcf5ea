/**
 * Versions of an event type: which version an event is in, and how an event of an earlier version becomes one of the
 * newest.
 *
 * The version is in the extension attribute `dataversion`, a whole number from 1. An event without it is in version 1,
 * so that events from before the type had versions, and events of producers that know nothing of versions, are in the
 * first one. Any other value of the attribute is the application's own, and also means version 1.
 *
 * Events are stored in the version in which they were published, and are never rewritten. When one is read with a
 * definition that is newer, its data is validated by the schema of its own version, changed by the upcast to the next
 * version, validated by the schema of that version, and so on.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { messageOf, promiseOf, watchAnswer } from '../base/thrown.ts'
import type { StoredEvent } from './cloud-event.ts'
import { eventText } from './event-text.ts'
import { type JudgedEvent, type SchemaUse, schemaOutput } from './schema.ts'

/** An earlier version that a definition knows, and how its data becomes the data of the version after it. */
export interface EarlierVersion {
  readonly version: number
  readonly schema: StandardSchemaV1 | undefined
  /** Takes the output of this version's schema, and returns the input of the next version's. */
  readonly upcast: (data: never) => unknown
}

/** The part of a definition that decides about versions. */
export interface VersionedDefinition {
  readonly type: string
  readonly schema: StandardSchemaV1 | undefined
  /** The newest version. */
  readonly version: number
  /** The earlier versions, the oldest first; each number is one more than the one before. */
  readonly earlier: readonly EarlierVersion[]
}

/** An event type and a version of it. */
export interface TypeVersion {
  readonly type: string
  readonly version: number
}

/** The largest version: what a whole number in a CloudEvents attribute can be. */
export const VERSION_MAX = 0x7fff_ffff

/** The attributes in which a version may be. */
export interface SaysVersion {
  readonly dataversion?: unknown
  readonly extensions?: object | undefined
}

const DIGITS = /^[1-9][0-9]{0,9}$/

/** The version that an event says it is in. In the binary form of HTTP, numbers come as text. */
export function versionOf({ dataversion, extensions }: SaysVersion): number {
  const said = dataversion ?? (extensions as SaysVersion | undefined)?.dataversion
  if (said === undefined) return 1
  const version = typeof said === 'string' && DIGITS.test(said) ? Number(said) : said
  return typeof version === 'number' && Number.isInteger(version) && version >= 1 && version <= VERSION_MAX
    ? version
    : 1
}

/** Whether a definition says anything about the data. If not, it takes every version. */
export function hasVersions({ schema, version }: Pick<VersionedDefinition, 'schema' | 'version'>): boolean {
  return schema !== undefined || version > 1
}

/** Whether the event needs a look at its version: it says one, or its type has more than the first. */
export function mayDiffer({ version }: Pick<VersionedDefinition, 'version'>, event: SaysVersion): boolean {
  return version !== 1 || event.dataversion !== undefined || event.extensions !== undefined
}

/** The schema by which an event that is published is validated. @throws UNKNOWN_VERSION */
export function publishedSchema(
  definition: VersionedDefinition,
  event: SaysVersion & JudgedEvent,
): StandardSchemaV1 | undefined {
  const version = versionOf(event)
  if (version === definition.version) return definition.schema
  const known = definition.earlier.find((each) => each.version === version)
  if (known === undefined) throw unpublishable(definition, event, version)
  return known.schema
}

/** The error UNKNOWN_VERSION for an event in a version that the definition of its channel does not have. */
export function unpublishable(
  {
    version: newest,
    earlier,
  }: Pick<VersionedDefinition, 'version'> & {
    readonly earlier?: VersionedDefinition['earlier']
  },
  event: JudgedEvent,
  version: number,
): MillraceError {
  const oldest = earlier?.[0]?.version ?? newest
  const message =
    version > newest
      ? `${eventText(event)} cannot be published in version ${version} (dataversion): its channel is declared with versions up to ${newest}. Declare the channel with the newer definition first`
      : `${eventText(event)} cannot be published in version ${version} (dataversion; without it, an event is in version 1): its definition begins at version ${oldest}. Publish it in version ${newest}, with dataversion: ${newest}`
  return new MillraceError('UNKNOWN_VERSION', message, { type: event.type, id: event.id, version, newest })
}

/** By event that was upcast: its data in the newest version, before the newest schema decodes it. */
const upcastData = new WeakMap<object, unknown>()

/** The text that patterns are matched with: the event in the newest version, or its stored text if that is newest. */
export function newestText(event: StoredEvent, stored: { readonly text: string }): string {
  return upcastData.has(event) ? JSON.stringify({ ...event, data: upcastData.get(event) }) : stored.text
}

/**
 * The event in the newest version of its definition, with the newest schema's output as data; a promise only if a
 * schema validates asynchronously.
 *
 * @throws SCHEMA_MISMATCH when the stored data does not satisfy the schema of its own version
 * @throws UPCAST_FAILED when an upcast throws, or returns what the next version's schema refuses
 * @throws UNKNOWN_VERSION when the definition does not have the event's version. For a handler with
 * `details.handled` if the version is older than those of the definition, and with `details.waits` if it is newer
 */
export function inNewest(
  definition: VersionedDefinition,
  event: StoredEvent,
  judged: JudgedEvent,
  use: 'handled' | 'read',
): StoredEvent | Promise<StoredEvent> {
  const from = versionOf(event)
  const { earlier, version: newest } = definition
  const at = from === newest ? earlier.length : earlier.findIndex((each) => each.version === from)
  if (at < 0) throw unreadable(definition, judged, from, use)
  const steps = earlier.slice(at)
  const decoded = decodedBy([...steps, definition], 0, event.data, judged, use)
  const done = ({ input, output }: Decoded): StoredEvent => {
    const read = event as { -readonly [K in keyof StoredEvent]: StoredEvent[K] }
    read.data = output
    if (steps.length > 0) {
      read.dataversion = newest
      upcastData.set(event, input)
    }
    return event
  }
  return decoded instanceof Promise ? decoded.then(done) : done(decoded)
}

interface Decoded {
  /** The data before the newest schema decodes it. */
  readonly input: unknown
  readonly output: unknown
}

type Step = Pick<VersionedDefinition, 'version' | 'schema'> & { readonly upcast?: EarlierVersion['upcast'] }

function decodedBy(
  steps: readonly Step[],
  at: number,
  input: unknown,
  event: JudgedEvent,
  use: SchemaUse,
): Decoded | Promise<Decoded> {
  const step = steps[at] as Step
  const next = (output: unknown): Decoded | Promise<Decoded> => {
    if (step.upcast === undefined) return { input, output }
    const to = (steps[at + 1] as Step).version
    return decodedBy(steps, at + 1, upcastBy(step.upcast, output, event, to), event, use)
  }
  const refused = (error: unknown): never => {
    if (at > 0 && isMillraceError(error, 'SCHEMA_MISMATCH')) throw notTaken(event, step.version, error)
    throw error
  }
  if (step.schema === undefined) return next(input)
  let output: unknown
  try {
    output = schemaOutput(step.schema, input, event, use)
  } catch (error) {
    return refused(error)
  }
  return output instanceof Promise ? output.catch(refused).then(next) : next(output)
}

function upcastBy(upcast: EarlierVersion['upcast'], data: unknown, event: JudgedEvent, to: number): unknown {
  let made: unknown
  let promise: Promise<unknown> | null
  try {
    made = (upcast as (data: unknown) => unknown)(data)
    promise = promiseOf(made)
  } catch (cause) {
    throw upcastFailed(event, to, `threw: ${messageOf(cause)}`, cause)
  }
  if (promise === null) return made
  watchAnswer(made)
  const why = 'returned a promise: it must return the data itself, so that the same event always reads the same'
  throw upcastFailed(event, to, why, undefined)
}

function notTaken(
  event: JudgedEvent,
  version: number,
  cause: MillraceError & { readonly details: { readonly issues?: unknown } },
): MillraceError {
  const issues = (cause.details.issues as readonly StandardSchemaV1.Issue[]).map(({ message }) => message)
  const why = `made data that the schema of version ${version} refuses (${issues.slice(0, 5).join('; ')})`
  return upcastFailed(event, version, why, cause)
}

function upcastFailed(event: JudgedEvent, version: number, why: string, cause: unknown): MillraceError {
  return new MillraceError(
    'UPCAST_FAILED',
    `${eventText(event)}: its upcast from version ${version - 1} to ${version} ${why}`,
    { type: event.type, id: event.id, version: version - 1, ...placeOf(event) },
    { cause },
  )
}

function unreadable(
  { version: newest, earlier }: VersionedDefinition,
  event: JudgedEvent,
  version: number,
  use: SchemaUse,
): MillraceError {
  const isNewer = version > newest
  const known = isNewer
    ? `the definition here knows versions up to ${newest}`
    : `the definition here begins at version ${earlier[0]?.version ?? newest}`
  const advice = use === 'read' ? '. Read the channel by its name to get events as they are stored' : ''
  return new MillraceError('UNKNOWN_VERSION', `${eventText(event)} is in version ${version}, and ${known}${advice}`, {
    type: event.type,
    id: event.id,
    version,
    newest,
    ...placeOf(event),
    ...(use === 'handled' && (isNewer ? { waits: true } : { handled: true })),
  })
}

function placeOf({ channel, offset }: JudgedEvent): object {
  return channel === undefined ? {} : { channel, offset }
}
