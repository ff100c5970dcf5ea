/**
 * Checks of everything that a client sends, before an engine gets it. Engines trust the encoder above them, but a
 * client may use another encoder, or none.
 */

import { MillraceError } from '../../base/errors.ts'
import type { JsonObject } from '../../base/json-object.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkName, compileWildcard, isWildcard, ownerOf, reservedName } from '../../base/names.ts'
import { shown } from '../../base/shown.ts'
import { TIME_MS_MAX } from '../../base/time-text.ts'
import { wholeNumber } from '../../base/units.ts'
import type { ConsumerPause, EventPlace } from '../../broker/description.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { ConsumerSpec, FlowLimit, HeldClaim } from '../../broker/engine.ts'
import type { InspectedEvent } from '../../broker/inspection.ts'
import type { LimitSize } from '../../broker/limits.ts'
import type { Position } from '../../broker/position.ts'
import type { Want } from '../../broker/want.ts'
import { type ChannelSpec, checkCompatibility } from '../../channel/channel.ts'
import { typeNotCarried } from '../../channel/channel-errors.ts'
import { fitting, fittingVersions, type KeptSchemas, type KeptVersions } from '../../channel/kept-schemas.ts'
import { checkKeyPath, type KeySpec } from '../../channel/key-path.ts'
import { stateChannelSpec } from '../../channel/state-channel.ts'
import { eventText } from '../../event/event-text.ts'
import { VERSION_MAX } from '../../event/event-version.ts'
import { type Members, membersOfText } from '../../event/http/decode-http.ts'
import { type Access, allows, type Permission } from '../access.ts'
import { malformed } from '../frame.ts'

/**
 * Check an event from a client: size, type, key, id, source and specversion. Returns its members.
 * @throws INVALID_EVENT · EVENT_TOO_LARGE · TYPE_NOT_CARRIED
 */
export function checkEvent(
  spec: Pick<ChannelSpec, 'name' | 'types' | 'eventBytesMax'>,
  { id, type, key, text }: EncodedEvent,
): Members {
  const facts = { channel: spec.name, type, id }
  const bytes = Buffer.byteLength(text)
  if (bytes > spec.eventBytesMax) {
    throw new MillraceError(
      'EVENT_TOO_LARGE',
      `${eventText({ type, id })} has ${bytes} bytes; channel "${spec.name}" takes ${spec.eventBytesMax}`,
      facts,
    )
  }
  if (spec.types !== null && !spec.types.includes(type)) {
    throw typeNotCarried(`channel "${spec.name}" does not carry ${shown(type)}`, type, spec.types, facts)
  }
  const refuse = (why: string): never => refused({ type, id }, spec.name, why)
  checkName(type, 'event type')
  checkKeyOf({ type, id, key }, spec.name)
  const members = membersOfText(text)
  const said = members.attributes
  if (said['specversion'] !== '1.0') refuse('its specversion is not "1.0"')
  if (typeof said['source'] !== 'string' || said['source'] === '') refuse('it has no source')
  if (said['id'] !== id || said['type'] !== type) refuse('its text has another id or type')
  return members
}

/** Checks the key of an event from a client. @throws INVALID_EVENT when the key is empty, too long or malformed */
export function checkKeyOf({ key, ...event }: Pick<EncodedEvent, 'type' | 'id' | 'key'>, channel: string): void {
  if (key === null) return
  const isKey =
    typeof key === 'string' && key !== '' && !key.includes('\0') && Buffer.byteLength(key) <= LIMITS.keyBytesMax
  if (!isKey) refused(event, channel, 'its key is not text, is empty, too long or contains U+0000')
}

function refused({ type, id }: Pick<EncodedEvent, 'type' | 'id'>, channel: string, why: string): never {
  throw new MillraceError('INVALID_EVENT', `${eventText({ type, id })}: ${why}`, { channel, type, id })
}

/** A declaration from a client, after all checks. @throws INVALID_NAME · INVALID_OPTION when a part is wrong */
export function checkChannelSpec(value: unknown): ChannelSpec {
  const spec = objectOf(value, 'a channel') as Partial<Record<keyof ChannelSpec, unknown>>
  const retain = objectOf(spec.retain, 'retain') as Record<string, unknown>
  const dedupe = spec.dedupe === null ? null : (objectOf(spec.dedupe, 'dedupe') as Record<string, unknown>)
  if (spec.kind !== 'stream' && spec.kind !== 'queue') throw malformed('a channel is a stream or a queue')
  return {
    name: checkName(spec.name, 'channel'),
    kind: spec.kind,
    types: spec.types === null ? null : listOf(spec.types, 'types').map((type) => checkName(type, 'event type')),
    retain: {
      ageMs: limitOf(retain['ageMs'], 'retain.ageMs'),
      bytes: limitOf(retain['bytes'], 'retain.bytes'),
      count: limitOf(retain['count'], 'retain.count'),
      latestByKey: retain['latestByKey'] === true,
    },
    dedupe:
      dedupe === null
        ? null
        : {
            ageMs: limitOf(dedupe['ageMs'], 'dedupe.ageMs') ?? 0,
            count: wholeNumber(dedupe['count'] as number, 'dedupe.count', 1, 16_000_000),
          },
    eventBytesMax: wholeNumber(spec.eventBytesMax as number, 'eventBytesMax', 256, LIMITS.eventBytesMax),
    ...(spec.key !== undefined && { key: checkKey(spec.key) }),
    ...(spec.schemas !== undefined && { schemas: checkSchemas(spec.schemas) }),
    ...(spec.versions !== undefined && { versions: checkVersions(spec.versions) }),
    ...(spec.compatibility !== undefined && { compatibility: checkCompatibility(spec.compatibility, 'a channel') }),
  }
}

/** @throws INVALID_OPTION */
function checkKey(value: unknown): KeySpec {
  if (value === null || value === 'function') return value
  return { path: checkKeyPath((objectOf(value, 'key') as { readonly path?: unknown }).path, 'a channel') }
}

/** @throws INVALID_NAME · INVALID_OPTION */
function checkSchemas(value: unknown): KeptSchemas {
  const schemas = Object.entries(objectOf(value, 'schemas')).map(
    ([type, schema]) => [checkName(type, 'event type'), objectOf(schema, 'a schema')] as const,
  )
  return fitting(schemas as [string, JsonObject][]) ?? {}
}

/** @throws INVALID_NAME · INVALID_OPTION · INVALID_REQUEST */
function checkVersions(value: unknown): Readonly<Record<string, KeptVersions>> {
  const versions = Object.entries(objectOf(value, 'versions')).map(([type, each]) => {
    const { version, earlier } = objectOf(each, 'the versions of a type') as Partial<
      Record<keyof KeptVersions, unknown>
    >
    const schemas = Object.entries(objectOf(earlier, 'earlier versions')).map(
      ([number, schema]) =>
        [
          String(wholeNumber(Number(number), 'an earlier version', 1, VERSION_MAX)),
          schema === null ? null : objectOf(schema, 'a schema'),
        ] as const,
    )
    const newest = wholeNumber(version as number, 'the newest version', 2, VERSION_MAX)
    return [
      checkName(type, 'event type'),
      { version: newest, earlier: Object.fromEntries(schemas) as KeptVersions['earlier'] },
    ] as const
  })
  return fittingVersions(versions) ?? {}
}

/** By type. @throws INVALID_NAME · INVALID_OPTION · INVALID_REQUEST */
function knownVersions(value: unknown): Readonly<Record<string, number>> {
  const versions = Object.entries(objectOf(value, 'versions'))
  return Object.fromEntries(
    versions.map(([type, version]) => [
      checkName(type, 'event type'),
      wholeNumber(version as number, 'a version', 1, VERSION_MAX),
    ]),
  )
}

/** The places of events. @throws INVALID_REQUEST · INVALID_NAME · INVALID_OPTION */
export function checkPlaces(value: unknown): EventPlace[] {
  return listOf(value, 'events').map((each) => {
    const { channel, offset } = objectOf(each, 'an event') as Partial<Record<keyof EventPlace, unknown>>
    return {
      channel: checkName(channel, 'channel'),
      offset: wholeNumber(offset as number, 'offset', 0, Number.MAX_SAFE_INTEGER),
    }
  })
}

/**
 * The event that a client asks about: its channel, offset and key.
 * @throws INVALID_REQUEST · INVALID_NAME · INVALID_OPTION
 */
export function checkInspected(value: unknown): InspectedEvent {
  const { key = null } = objectOf(value, 'an event') as { readonly key?: unknown }
  if (key !== null && typeof key !== 'string') throw malformed('the key of an event is text, or null')
  return { ...(checkPlaces([value])[0] as EventPlace), key }
}

/**
 * Millrace's own consumers may be used only with this permission on the channel that they belong to, as processes that
 * run rules or push events have it. @throws INVALID_NAME
 */
export function checkOwn(access: Access, permission: Permission, consumer: string): void {
  const owner = ownerOf(consumer)
  if (owner !== null && !allows(access, permission, owner)) throw reservedName(consumer)
}

/**
 * The spec of a consumer from a client, after all checks.
 * @throws INVALID_NAME · INVALID_OPTION when a part is wrong
 */
export function checkConsumerSpec(value: unknown): ConsumerSpec {
  const spec = objectOf(value, 'a consumer') as unknown as ConsumerSpec
  const channels = listOf(spec.channels, 'channels')
  for (const name of channels) {
    if (typeof name === 'string' && isWildcard(name)) compileWildcard(name)
    else checkName(name, 'channel')
  }
  if (channels.length === 0 || channels.length > LIMITS.wireSubscriptionsMax)
    throw malformed('a consumer has 1 to 1,000 channels')
  const whole = (
    name: 'credit' | 'perKey' | 'leaseMs' | 'attemptsMax' | 'stallMs',
    least: number,
    most: number,
  ): number => wholeNumber(Math.round(spec[name]), name, least, most)
  return {
    name: checkName(spec.name, 'consumer'),
    channels: channels as string[],
    wants: listOf(spec.wants, 'wants').map(wantOf),
    from: checkPosition(spec.from),
    ...(spec.versions !== undefined && { versions: knownVersions(spec.versions) }),
    ...(spec.limits !== undefined && { limits: listOf(spec.limits, 'limits').map(limitOfConsumer) }),
    onDead: spec.onDead === 'park' || spec.onDead === 'skip' || spec.onDead === 'block' ? spec.onDead : null,
    credit: whole('credit', 1, LIMITS.concurrencyMax),
    perKey: whole('perKey', 1, LIMITS.handlerBatchMax),
    leaseMs: whole('leaseMs', LIMITS.leaseMsMin, Number.MAX_SAFE_INTEGER),
    attemptsMax: whole('attemptsMax', 1, LIMITS.attemptsMax),
    stallMs: whole('stallMs', 0, Number.MAX_SAFE_INTEGER),
    ...(spec.state !== undefined && { state: checkState(spec.state, spec.name) }),
  }
}

/** The channel in which a consumer keeps its state. @throws INVALID_REQUEST · INVALID_OPTION */
function checkState(value: unknown, consumer: string): ChannelSpec {
  const given = checkChannelSpec(value)
  const { name, kind, types, retain, dedupe } = stateChannelSpec(consumer, given.eventBytesMax)
  if (given.name !== name) throw malformed(`the state of consumer "${consumer}" is in channel "${name}"`)
  return { ...given, kind, types, retain, dedupe }
}

const LIMIT_NAME_CHARS_MAX = 600
const CONSUMER_LIMITS_MAX = 6

/** A limit without a key: a client cannot send functions. */
function limitOfConsumer(value: unknown, index: number): FlowLimit {
  const { kind, name } = objectOf(value, 'a limit') as Partial<FlowLimit>
  if (kind !== 'concurrency' && kind !== 'rate') throw malformed('a limit is of concurrency, or a rate')
  if (index >= CONSUMER_LIMITS_MAX) throw malformed(`a consumer has up to ${CONSUMER_LIMITS_MAX} limits`)
  const size = checkLimitSize(value)
  if ((kind === 'rate') !== size.perMs > 0) throw malformed('a rate has a span, and a limit of concurrency has none')
  return { kind, name: checkLimitName(name), ...size }
}

/** @throws INVALID_REQUEST */
export function checkLimitName(value: unknown): string {
  if (typeof value !== 'string' || value === '' || value.length > LIMIT_NAME_CHARS_MAX || value.includes('/'))
    throw malformed('a limit has a name')
  return value
}

/** @throws INVALID_REQUEST · INVALID_OPTION */
export function checkLimitSize(value: unknown): LimitSize {
  const { max, perMs, burst } = objectOf(value, 'the size of a limit') as Record<string, unknown>
  return {
    max: wholeNumber(max as number, 'max', 1, LIMITS.limitMax),
    perMs: wholeNumber(Math.ceil(Number(perMs)), 'perMs', 0, Number.MAX_SAFE_INTEGER),
    burst: wholeNumber(burst as number, 'burst', 0, LIMITS.limitMax),
  }
}

/** The engine compiles the pattern, and so checks it. */
function wantOf(value: unknown): Want {
  const { type, pattern } = objectOf(value, 'a want') as Partial<Want>
  if (type !== null && typeof type !== 'string') throw malformed('a want’s type is a text, or null for any')
  return {
    type,
    pattern:
      pattern === undefined || pattern === null ? null : (objectOf(pattern, 'a pattern') as unknown as Want['pattern']),
  }
}

/** The largest credit, plus the settlements that can be made before the server confirms them. */
const CLAIMS_MAX = 1_000_000

/**
 * The deliveries that a client had in flight in its lost session.
 * @throws INVALID_REQUEST · INVALID_NAME · INVALID_OPTION
 */
export function checkClaims(value: unknown): HeldClaim[] {
  if (!Array.isArray(value) || value.length > CLAIMS_MAX) throw malformed('claims are a list')
  return value.map((each: unknown) => {
    const { channel, offset, attempt } = objectOf(each, 'a claim') as Partial<HeldClaim>
    return {
      channel: checkName(channel, 'channel'),
      offset: wholeNumber(offset, 'offset', 0, Number.MAX_SAFE_INTEGER),
      attempt: wholeNumber(attempt, 'attempt', 1, 0xffff_ffff),
    }
  })
}

export function checkPosition(value: unknown): Position {
  const position = objectOf(value, 'a position') as Record<string, unknown>
  if (position['at'] === 'beginning' || position['at'] === 'end') return { at: position['at'] }
  if (typeof position['offset'] === 'number') return { offset: position['offset'] }
  const timeMs = position['timeMs']
  if (typeof timeMs === 'number' && Math.abs(timeMs) <= TIME_MS_MAX) return { timeMs }
  throw malformed('a position is a word, an offset or a time')
}

/**
 * The pause in a client's call, or null for none. A client with credentials cannot give another name.
 * @throws INVALID_REQUEST when it is not an object · INVALID_OPTION
 */
export function checkPause(value: unknown, { name, trusted }: Pick<Access, 'name' | 'trusted'>): ConsumerPause | null {
  if (value === null) return null
  const { sinceMs, reason, by } = objectOf(value, 'a pause') as Record<string, unknown>
  for (const [option, text] of Object.entries({ reason, by }))
    if (typeof text === 'string' && text.length > LIMITS.reasonCharsMax)
      throw new MillraceError(
        'INVALID_OPTION',
        `${option} must be text of at most ${LIMITS.reasonCharsMax} characters`,
        { option },
      )
  return {
    sinceMs: limitOf(sinceMs, 'sinceMs') ?? 0,
    reason: typeof reason === 'string' ? reason : null,
    by: trusted ? (typeof by === 'string' ? by : null) : name,
  }
}

/** The reason that a client gives after the arguments of a call. Undefined if it gives none. */
export function reasonAfter(args: readonly unknown[]): string | undefined {
  const last = args.at(-1)
  if (typeof last !== 'object' || last === null || Object.keys(last).join() !== 'reason') return undefined
  const { reason } = last as { readonly reason: unknown }
  return typeof reason === 'string' ? reason.slice(0, LIMITS.reasonCharsMax) : undefined
}

export function objectOf(value: unknown, what: string): object {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw malformed(`${what} is not an object`)
}

function listOf(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value) && value.length <= LIMITS.batchEventsMax) return value as unknown[]
  throw malformed(`${what} is not a list`)
}

/** A number, or null for "no limit". */
function limitOf(value: unknown, option: string): number | null {
  if (value === null) return null
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value
  throw new MillraceError('INVALID_OPTION', `${option} is a number, or null for none`, { option })
}
