/**
 * `stream()` and `queue()`: what a channel is, which events it carries, and how long it keeps them.
 */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkName, isStateChannel } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import {
  type Duration,
  durationMs,
  knownOptions,
  type Size,
  sizeBytes,
  trueOrFalse,
  wholeNumber,
} from '../base/units.ts'
import type { NewEvent } from '../event/cloud-event.ts'
import { type AnyEventDefinition, type InputOf, isDefinition, type TypeOf } from '../event/event.ts'
import { type KeptSchemas, type KeptVersions, keptSchemas, keptVersions } from './kept-schemas.ts'
import { checkKeyPath, type KeyFunction, type KeyPath, type KeySpec, keyAtPath, noKey } from './key-path.ts'

export type ChannelKind = 'stream' | 'queue'

/** An event that a channel of these definitions takes. */
export type EventFor<Definition> = Definition extends AnyEventDefinition
  ? NewEvent<TypeOf<Definition>, InputOf<Definition>>
  : never

/**
 * How long a stream keeps its events. All limits that are given apply: an event is removed when it is beyond any of
 * them.
 */
export interface Retention {
  /** Keep events for this time. @default undefined: for ever */
  readonly age?: Duration
  /** Keep this many bytes of events, the newest. @default undefined: without limit */
  readonly bytes?: Size
  /** Keep this many events, the newest. @default undefined: without limit */
  readonly count?: number
  /** Keep only the latest event of each key (all events without a key are kept). @default false */
  readonly latestByKey?: boolean
}

export interface ChannelOptions<Definition extends AnyEventDefinition, Path extends string = string> {
  /** The events that the channel carries; others are refused. @default any event, unvalidated */
  readonly events?: readonly Definition[]
  /**
   * Events with the same key are handled in order, one at a time. A path, `'data.order'` or the name of an attribute
   * such as `'subject'`, is stored with the channel: the command line, the gateway and programs in other languages use
   * the same key. The value there must be text or a whole number in every event. A function exists only in the
   * application: others must give the key in the event's `partitionkey`. `false` is no key, also if the channel had
   * one or the event has a `partitionkey`. @default the event's `partitionkey`, else no key
   */
  readonly key?: ((event: EventFor<Definition>) => string | undefined) | (Path & KeyPath<Definition, Path>) | false
  readonly retain?: Retention
  /**
   * The window in which an id that is published twice is stored once: the last `count` events (up to twice that), no
   * older than `age`. `false` turns it off.
   * @default 100,000 events, 10 minutes
   */
  readonly dedupe?: false | { readonly age?: Duration; readonly count?: number }
  /** Largest event, as CloudEvents JSON. Up to 16 MiB. @default 1 MiB */
  readonly maxEventBytes?: Size
  /**
   * What a changed schema must be able to read. A declaration that is proven to break it is refused. `backward`: the
   * new schema reads the events of the old one. `forward`: the old one reads those of the new one. `full`: both.
   * `none`: every change is accepted.
   * @default 'backward'
   */
  readonly compatibility?: Compatibility
}

/** Which changes of a channel's schemas are accepted. */
export type Compatibility = 'backward' | 'forward' | 'full' | 'none'

export const COMPATIBILITIES: readonly Compatibility[] = ['backward', 'forward', 'full', 'none']

/** A channel as data: what an engine needs to know about it. Milliseconds and bytes; `null` is "without limit". */
export interface ChannelSpec {
  readonly name: string
  readonly kind: ChannelKind
  /** Types carried, sorted; `null` for any. */
  readonly types: readonly string[] | null
  readonly retain: {
    readonly ageMs: number | null
    readonly bytes: number | null
    readonly count: number | null
    readonly latestByKey: boolean
  }
  readonly dedupe: { readonly ageMs: number; readonly count: number } | null
  readonly eventBytesMax: number
  /** Where the key is. Absent: the declaration does not say. */
  readonly key?: KeySpec
  /** By type, if the schema library gives a JSON Schema and it fits. */
  readonly schemas?: KeptSchemas
  /** By type, for the types that have more than the first version. */
  readonly versions?: Readonly<Record<string, KeptVersions>>
  /** Only in a declaration: it is about this declaration, and is not stored. Absent: `backward`. */
  readonly compatibility?: Compatibility
  /** Only stored. By type: the fingerprints of the definitions that it had before, the latest first. */
  readonly registered?: Readonly<Record<string, readonly string[]>>
}

/** A named path for events. */
export interface Channel<
  Kind extends ChannelKind = ChannelKind,
  Definition extends AnyEventDefinition = AnyEventDefinition,
> {
  readonly name: string
  readonly kind: Kind
  /** The definitions by event type; `null` when the channel carries anything. */
  readonly events: ReadonlyMap<string, Definition> | null
  /** The event's key, if the channel has a path or a function for it. */
  readonly keyOf: KeyFunction | undefined
  readonly spec: ChannelSpec
}

export type Stream<Definition extends AnyEventDefinition = AnyEventDefinition> = Channel<'stream', Definition>
export type Queue<Definition extends AnyEventDefinition = AnyEventDefinition> = Channel<'queue', Definition>

/** The definitions that a channel carries. */
export type DefinitionsOf<C> = C extends Channel<ChannelKind, infer Definition> ? Definition : never

/**
 * A stream: keeps its events, each consumer name sees every one, and anyone may read them again.
 *
 * @throws INVALID_NAME when the name is not words of letters, digits, `_`, `$` and `-`, joined by dots, or is too long
 * · INVALID_OPTION when an option is wrong, or two of `events` have one type with different schemas
 * @example
 * ```ts
 * import { event, stream } from 'millrace'
 *
 * const ItemAdded = event('cart.item.added')
 * const carts = stream('carts', { events: [ItemAdded], retain: { age: '30d' } })
 * carts.kind // 'stream'
 * ```
 */
export function stream<const Definition extends AnyEventDefinition, const Path extends string = string>(
  name: string,
  options: ChannelOptions<Definition, Path> = {},
): Stream<Definition> {
  return channel<'stream', Definition, Path>('stream', name, options)
}

/**
 * A queue: hands each event to one worker and forgets it when it is done.
 *
 * @throws as `stream`
 * @example
 * ```ts
 * import { event, queue } from 'millrace'
 *
 * const LowStock = event('stock.low')
 * const restock = queue('restock', { events: [LowStock] })
 * restock.kind // 'queue'
 * ```
 */
export function queue<const Definition extends AnyEventDefinition, const Path extends string = string>(
  name: string,
  options: Omit<ChannelOptions<Definition, Path>, 'retain'> = {},
): Queue<Definition> {
  return channel<'queue', Definition, Path>('queue', name, options)
}

function channel<Kind extends ChannelKind, Definition extends AnyEventDefinition, Path extends string>(
  kind: Kind,
  name: string,
  options: ChannelOptions<Definition, Path>,
): Channel<Kind, Definition> {
  checkName(name, 'channel')
  if (isStateChannel(name)) throw stateName(name)
  const known =
    kind === 'stream'
      ? ['events', 'key', 'retain', 'dedupe', 'maxEventBytes', 'compatibility']
      : ['events', 'key', 'dedupe', 'maxEventBytes', 'compatibility']
  knownOptions(options, known, `${kind} "${name}"`)
  const events = options.events === undefined ? null : definitionsOf(options.events, `${kind} "${name}"`)
  const key = keySpec(options.key, `${kind} "${name}"`)
  const schemas = events === null ? undefined : keptSchemas(events.values())
  const versions = events === null ? undefined : keptVersions(events.values())
  const { compatibility } = options
  if (compatibility !== undefined) checkCompatibility(compatibility, `${kind} "${name}"`)
  const spec = channelSpec(kind, name, events === null ? null : [...events.keys()].sort(), options)
  return {
    name,
    kind,
    events,
    keyOf: key === 'function' ? (options.key as KeyFunction) : keyAt(key, name),
    spec: {
      ...spec,
      ...(key !== undefined && { key }),
      ...(schemas !== undefined && { schemas }),
      ...(versions !== undefined && { versions }),
      ...(compatibility !== undefined && { compatibility }),
    },
  }
}

function stateName(name: string): MillraceError {
  const message = `"${name}" cannot be the name of a channel: names that begin with "$state." are of the states of consumers. Choose another name; to read a state, use broker.table(consumer)`
  return new MillraceError('INVALID_NAME', message, { name, of: 'channel' })
}

/** @throws INVALID_OPTION when it is none of them */
export function checkCompatibility(value: unknown, of: string): Compatibility {
  const known = COMPATIBILITIES.find((each) => each === value)
  if (known !== undefined) return known
  throw new MillraceError(
    'INVALID_OPTION',
    `compatibility of ${of} is one of ${COMPATIBILITIES.join(', ')}; it is ${shown(value)}`,
    { option: 'compatibility', known: COMPATIBILITIES },
  )
}

/** @throws INVALID_OPTION */
function keySpec(key: unknown, of: string): KeySpec | undefined {
  if (key === undefined) return undefined
  if (key === false) return null
  return typeof key === 'function' ? 'function' : { path: checkKeyPath(key, of) }
}

function keyAt(key: Exclude<KeySpec, 'function'> | undefined, channel: string): KeyFunction | undefined {
  if (key === null) return noKey
  return key === undefined ? undefined : keyAtPath(key.path, channel)
}

/** The definitions by type. A channel cannot carry one type with two schemas. */
function definitionsOf<Definition extends AnyEventDefinition>(
  given: readonly Definition[],
  of: string,
): Map<string, Definition> {
  if (!Array.isArray(given)) {
    throw new MillraceError(
      'INVALID_OPTION',
      `events of ${of} must be an array of event definitions; it is ${shown(given)}`,
      { option: 'events' },
    )
  }
  const events = new Map<string, Definition>()
  for (const definition of given as readonly Definition[]) {
    if (!isDefinition(definition)) {
      throw new MillraceError(
        'INVALID_OPTION',
        `events of ${of} holds ${shown(definition)}, which is not an event definition: make one with event()`,
        {
          option: 'events',
        },
      )
    }
    const other = events.get(definition.type)
    if (other !== undefined && other.schema !== definition.schema) {
      throw new MillraceError(
        'INVALID_OPTION',
        `events of ${of} defines "${definition.type}" twice, with different schemas: a channel has one for each type`,
        {
          option: 'events',
          type: definition.type,
        },
      )
    }
    events.set(definition.type, definition)
  }
  return events
}

/** Whether the value was made by `stream()` or `queue()`. */
export function isChannel(value: unknown): value is Channel {
  return (
    typeof value === 'object' &&
    value !== null &&
    typeof (value as Partial<Channel>).name === 'string' &&
    (value as Partial<Channel>).spec !== undefined
  )
}

/**
 * Checks that an argument is a channel, as `stream()` or `queue()` returns it.
 * @throws INVALID_OPTION when it is not a channel
 */
export function checkChannel(value: unknown): asserts value is Channel {
  if (isChannel(value)) return
  throw new MillraceError(
    'INVALID_OPTION',
    `a channel is made by stream() or queue(), or named by text; this is ${shown(value)}`,
    { option: 'channel' },
  )
}

function channelSpec(
  kind: ChannelKind,
  name: string,
  types: readonly string[] | null,
  options: Omit<ChannelOptions<never>, 'key' | 'events' | 'compatibility'>,
): ChannelSpec {
  const { retain = {}, dedupe = {}, maxEventBytes = LIMITS.eventBytesDefault } = options
  knownOptions(retain, ['age', 'bytes', 'count', 'latestByKey'], 'retain')
  if (dedupe !== false) knownOptions(dedupe, ['age', 'count'], 'dedupe')
  return {
    name,
    kind,
    types,
    retain: {
      ageMs: retain.age === undefined ? null : durationMs(retain.age, 'retain.age'),
      bytes: retain.bytes === undefined ? null : sizeBytes(retain.bytes, 'retain.bytes'),
      count: retain.count === undefined ? null : wholeNumber(retain.count, 'retain.count', 1, Number.MAX_SAFE_INTEGER),
      latestByKey: trueOrFalse(retain.latestByKey ?? false, 'retain.latestByKey'),
    },
    dedupe:
      dedupe === false
        ? null
        : {
            ageMs: durationMs(dedupe.age ?? LIMITS.dedupeAgeMsDefault, 'dedupe.age'),
            count: wholeNumber(dedupe.count ?? LIMITS.dedupeCountDefault, 'dedupe.count', 1, 16_000_000),
          },
    eventBytesMax: wholeNumber(
      sizeBytes(maxEventBytes, 'maxEventBytes'),
      'maxEventBytes',
      LIMITS.eventBytesMin,
      LIMITS.eventBytesMax,
    ),
  }
}
