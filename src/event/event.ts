/**
 * `event()`: a type of event with its schema, which producers and consumers share.
 */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { MillraceError } from '../base/errors.ts'
import { checkName } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { knownOptions, wholeNumber } from '../base/units.ts'
import type { PatternOf } from '../pattern/pattern-type.ts'
import type { CloudEvent, EventAttributes, NewEvent } from './cloud-event.ts'
import { type EarlierVersion, VERSION_MAX, type VersionedDefinition } from './event-version.ts'
import { newId, nowText } from './identity.ts'
import { madeNow } from './made-now.ts'
import { attributeReason } from './validate-cloud-event.ts'

export interface EventOptions {
  /** The CloudEvents `source` of these events. @default the broker's `source` */
  readonly source?: string
  /** The CloudEvents `dataschema`: a URI that names the schema. */
  readonly dataschema?: string
  /**
   * The number of this version, if earlier versions of the type are no longer known here: give it when no event of
   * them is kept any more. @default 1
   */
  readonly version?: number
}

/** What every event definition has, whatever its data. */
export interface AnyEventDefinition extends VersionedDefinition {
  readonly type: string
  /** The schema of the newest version. */
  readonly schema: StandardSchemaV1 | undefined
  readonly options: EventOptions
}

/** A type of event. Calling it makes an event, with a new id and the current time. */
export interface EventDefinition<Type extends string = string, Input = unknown, Output = Input>
  extends AnyEventDefinition {
  (data: Input, attributes?: EventAttributes): NewEvent<Type, Input>
  readonly type: Type
  /** For the type system only: what a producer gives, and what a handler gets. */
  readonly types?: { readonly input: Input; readonly output: Output }
  /** Whether an event has this type (its data is not validated again). */
  is(event: CloudEvent): event is CloudEvent<Type, Output>
  /**
   * The events of this type whose data matches a pattern: for `consumer().on()`. The pattern applies to the data as it
   * was published, before a schema decodes it; in an event of an earlier version, to the data that the upcasts make.
   */
  where(pattern: PatternOf<Input>): EventFilter<Type, Output>
  /**
   * The definition with one more version, which is the newest from then on. Producers publish the newest version, and
   * handlers get it: an event that was stored in an earlier version is changed by the upcasts when it is read, and then
   * validated.
   *
   * @param version The number of the new version: one more than that of this definition.
   * @param schema The schema of the new version.
   * @param upcast Makes the data of the new version (its schema's input) from that of the version before (its
   * schema's output). It must not change anything else, and must return the data itself and not a promise.
   * @throws INVALID_OPTION when the version is not the next one, the schema is not a Standard Schema, or the upcast is
   * not a function
   * @example
   * ```ts
   * import { event } from 'millrace'
   * import { z } from 'zod'
   *
   * const Paid = event('order.paid', z.object({ euros: z.number() })).nextVersion(
   *   2,
   *   z.object({ cents: z.int(), currency: z.string() }),
   *   ({ euros }) => ({ cents: Math.round(euros * 100), currency: 'EUR' }),
   * )
   * Paid({ cents: 250, currency: 'EUR' }).dataversion // 2
   * ```
   */
  nextVersion<Schema extends StandardSchemaV1>(
    version: number,
    schema: Schema,
    upcast: (data: Output) => StandardSchemaV1.InferInput<Schema>,
  ): EventDefinition<Type, StandardSchemaV1.InferInput<Schema>, StandardSchemaV1.InferOutput<Schema>>
}

/** Some events of a type: those whose data matches a pattern. */
export interface EventFilter<Type extends string = string, Output = unknown> {
  readonly definition: AnyEventDefinition & {
    readonly type: Type
    readonly types?: { readonly input: unknown; readonly output: Output }
  }
  /** In the event-pattern language, over `data`. */
  readonly pattern: object
}

/** The event type of a definition. */
export type TypeOf<Definition> = Definition extends { readonly type: infer Type extends string } ? Type : never
/** The type of the data that a producer gives: the input type of the schema. */
export type InputOf<Definition> = Definition extends {
  readonly types?: { readonly input: infer Input; readonly output: unknown }
}
  ? Input
  : never
/** The type of the data that a handler gets: the output type of the schema. */
export type OutputOf<Definition> = Definition extends {
  readonly types?: { readonly input: unknown; readonly output: infer Output }
}
  ? Output
  : never

/**
 * Define a type of event: its name, and the schema of its data with any Standard Schema library (zod, valibot, arktype
 * …).
 *
 * Data is validated when it is published (an invalid event is refused with the schema's own issues) and decoded by the
 * schema again when it is handled, so a handler gets the schema's output type.
 *
 * @throws INVALID_NAME when the type is not made of words joined by dots.
 * @throws INVALID_OPTION when the schema is not a Standard Schema.
 * @example
 * ```ts
 * import { event } from 'millrace'
 * import { z } from 'zod'
 *
 * const ItemAdded = event('cart.item.added', z.object({ cart: z.string(), sku: z.string(), quantity: z.int() }))
 * const added = ItemAdded({ cart: 'c-1', sku: 'tea', quantity: 2 })
 * added.type // 'cart.item.added'
 * ```
 * @see https://standardschema.dev
 */
export function event<const Type extends string>(type: Type): EventDefinition<Type, unknown, unknown>
export function event<const Type extends string, Schema extends StandardSchemaV1>(
  type: Type,
  schema: Schema,
  options?: EventOptions,
): EventDefinition<Type, StandardSchemaV1.InferInput<Schema>, StandardSchemaV1.InferOutput<Schema>>
export function event(type: string, schema?: StandardSchemaV1, options: EventOptions = {}): EventDefinition {
  checkName(type, 'event type')
  if (schema !== undefined) checkSchema(schema, type)
  knownOptions(options, ['source', 'dataschema', 'version'], `event "${type}"`)
  checkAttributes(options, `of event "${type}"`)
  const version = wholeNumber(options.version ?? 1, `version of event "${type}"`, 1, VERSION_MAX)
  return definitionOf({ type, schema, version, earlier: [] }, options)
}

/** The parts of every event that a definition makes. */
type Made = Partial<Pick<NewEvent, 'source' | 'dataschema' | 'dataversion'>>

function definitionOf(versions: VersionedDefinition, options: EventOptions): EventDefinition {
  const { type, version } = versions
  const { source, dataschema } = options
  const attributesOfAll: Made = {
    ...(source !== undefined && { source }),
    ...(dataschema !== undefined && { dataschema }),
    ...(version > 1 && { dataversion: version }),
  }
  const plain = Object.keys(attributesOfAll).length === 0
  const create = (data: unknown, attributes?: EventAttributes): NewEvent => {
    if (attributes === undefined && plain) {
      const now = Date.now()
      return madeNow({ id: newId(now), type, time: nowText(now), data })
    }
    if (
      attributes !== undefined &&
      (typeof attributes !== 'object' || attributes === null || Array.isArray(attributes))
    ) {
      throw new MillraceError(
        'INVALID_EVENT',
        `event "${type}": its attributes must be an object; they are ${shown(attributes)}`,
        { type },
      )
    }
    const made = { ...attributesOfAll, ...attributes }
    const { time } = made
    if (time === undefined) return madeNow({ ...made, id: made.id ?? newId(), type, time: nowText(), data })
    return { ...made, id: made.id ?? newId(), type, time: timeText(time), data }
  }
  return Object.assign(create, {
    ...versions,
    options,
    is: (candidate: CloudEvent | null | undefined): candidate is CloudEvent => candidate?.type === type,
    where: (pattern: object): EventFilter => ({ definition: create as EventDefinition, pattern }),
    nextVersion: (next: number, schema: StandardSchemaV1, upcast: EarlierVersion['upcast']) =>
      definitionOf(withNext(versions, next, schema, upcast), options),
  })
}

/** @throws INVALID_OPTION */
function withNext(
  { type, schema: before, version, earlier }: VersionedDefinition,
  next: number,
  schema: StandardSchemaV1,
  upcast: EarlierVersion['upcast'],
): VersionedDefinition {
  const refuse = (message: string): never => {
    throw new MillraceError('INVALID_OPTION', message, { type, option: 'nextVersion' })
  }
  if (next !== version + 1)
    refuse(`the version after ${version} of event "${type}" is ${version + 1}; nextVersion got ${shown(next)}`)
  checkSchema(schema, type)
  if (typeof upcast !== 'function')
    refuse(
      `version ${next} of event "${type}" needs a function that makes its data from that of version ${version}; it is ${shown(upcast)}`,
    )
  return { type, schema, version: next, earlier: [...earlier, { version, schema: before, upcast }] }
}

/** @throws INVALID_OPTION */
function checkSchema(schema: unknown, type: string): void {
  if (typeof (schema as StandardSchemaV1 | null)?.['~standard']?.validate === 'function') return
  throw new MillraceError(
    'INVALID_OPTION',
    `the schema of event "${type}" is not a Standard Schema: use zod, valibot, arktype or another such library`,
    { type },
  )
}

/**
 * Checks the `source` and `dataschema` that `connect()` or `event()` sets for its events. `of` ends the subject of the
 * message, as in `of connect`.
 * @throws INVALID_OPTION when one of them cannot have its value
 */
export function checkAttributes(attributes: Pick<EventOptions, 'source' | 'dataschema'>, of: string): void {
  for (const name of ['source', 'dataschema'] as const) {
    const value: unknown = attributes[name]
    const reason = value === undefined ? undefined : value === null ? 'must be a string' : attributeReason(name, value)
    if (reason !== undefined)
      throw new MillraceError('INVALID_OPTION', `${name} ${of} ${reason}; it is ${shown(value)}`, {
        option: name,
        value: shown(value),
      })
  }
}

/** Whether the value was made by `event()`. */
export function isDefinition(value: unknown): value is AnyEventDefinition {
  return (
    (typeof value === 'function' || (typeof value === 'object' && value !== null)) &&
    typeof (value as Partial<AnyEventDefinition>).type === 'string'
  )
}

function timeText(time: unknown): string {
  if (typeof time === 'string') return time
  if (time instanceof Date && Number.isFinite(time.getTime())) return time.toISOString()
  throw new MillraceError(
    'INVALID_EVENT',
    `the time of an event must be a valid Date or RFC 3339 text; it is ${shown(time)}`,
    { attribute: 'time' },
  )
}
