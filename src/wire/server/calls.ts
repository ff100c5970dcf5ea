/** The engine's request-and-answer calls, by name: the permission that each needs, and its entry in the audit trail. */
import { isAbsolute } from 'node:path'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkName, ownerOf } from '../../base/names.ts'
import { wholeNumber } from '../../base/units.ts'
import { boundsIn } from '../../broker/bounds.ts'
import {
  checkedDelayedId,
  checkedDelayedQuery,
  checkedQuery,
  checkStateChoice,
  noFiles,
} from '../../broker/call-options.ts'
import { limitsIn } from '../../broker/connected-limits.ts'
import type { CountedConsumer, DeadLetterQuery, EngineDescription } from '../../broker/description.ts'
import type { Engine } from '../../broker/engine.ts'
import { withoutPlaces } from '../../broker/inspection.ts'
import {
  checkChoiceByKey,
  hidesErrors,
  type MaySee,
  maskFor,
  seenDelayed,
  seenInspection,
  seenLetters,
} from '../../broker/seen-events.ts'
import { storedAt } from '../../broker/stored-range.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { refuseStateChannel } from '../../channel/state-channel.ts'
import { redeclared } from '../../compatibility/redeclared.ts'
import { MASK } from '../../event/sensitive/masked-event.ts'
import { type Access, allows, localAccess, type Permission } from '../access.ts'
import { malformed } from '../frame.ts'
import { CARRIAGE_CALLS } from './carriage-calls.ts'
import {
  checkChannelSpec,
  checkInspected,
  checkLimitName,
  checkLimitSize,
  checkOwn,
  checkPause,
  checkPlaces,
  checkPosition,
  objectOf,
  reasonAfter,
} from './checks.ts'
import { TABLE_CALLS } from './table-calls.ts'

export interface Call {
  readonly method: string
  readonly args: readonly unknown[]
}

interface Asked {
  readonly engine: Engine
  readonly access: Access
  readonly args: readonly unknown[]
}

type Method = (asked: Asked) => Promise<unknown>

const ANY: readonly Permission[] = ['publish', 'consume', 'read', 'manage']
/**
 * Calls that change what others rely on. `declare` is not among them, because publishing and consuming declare channels
 * too.
 */
const AUDITED = new Set([
  'rewind',
  'setPause',
  'removeConsumer',
  'removeChannel',
  'redrive',
  'dropDeadLetters',
  'cancelDelayed',
  'setLimit',
  'carriage.putEvents',
  'carriage.putConsumer',
  'carriage.putLetters',
])

/**
 * Calls a method of the engine for a client.
 * @throws INVALID_REQUEST when the method or its arguments are wrong · FORBIDDEN when the client lacks the permission ·
 * and the errors of the engine
 */
export async function callMethod(method: string, asked: Asked): Promise<unknown> {
  const act = Object.hasOwn(METHODS, method) ? METHODS[method] : undefined
  if (act === undefined || !Array.isArray(asked.args)) throw malformed(`there is no method "${String(method)}"`)
  if (asked.access.audit === undefined || !AUDITED.has(method)) return act(asked)
  const reason = reasonAfter(asked.args)
  const args = reason === undefined ? asked.args : asked.args.slice(0, -1)
  const target = {
    of: String(args[0]).slice(0, 200),
    ...(args.length > 1 && { options: told(method, args.slice(1)) }),
    ...(reason !== undefined && { reason }),
  }
  try {
    const answer = await act(asked)
    await asked.access.audit({ method, target, outcome: 'done' })
    return answer
  } catch (error) {
    const outcome = isMillraceError(error, 'FORBIDDEN') ? 'refused' : 'failed'
    await asked.access.audit({ method, target, outcome, ...(isMillraceError(error) && { code: error.code }) })
    throw error
  }
}

/** The arguments as the audit trail stores them. Lists that a copy brings are replaced by their lengths. */
function told(method: string, args: readonly unknown[]): string {
  const counted = (_name: string, value: unknown): unknown => (Array.isArray(value) ? `${value.length} item(s)` : value)
  const text = method.startsWith('carriage.')
    ? args.map((arg) => JSON.stringify(arg, counted)).join(' ')
    : JSON.stringify(args)
  return text.slice(0, 1000)
}

/** Methods that the first servers of this protocol version lack. */
export const LATER_METHODS: readonly string[] = [
  'channels',
  'bounds',
  'consumer',
  'describeChannel',
  'alarms',
  'pending',
  'inspect',
  'publishLoad',
  'limits',
  'retries',
  'tables.get',
  'tables.scan',
]

export const METHODS: Readonly<Record<string, Method>> = {
  ...CARRIAGE_CALLS,
  ...TABLE_CALLS,
  declare: async ({ engine, access, args: [value] }) => {
    const spec = checkChannelSpec(value)
    if (allows(access, 'manage', spec.name)) await engine.declare(spec)
    else await mustBeThere(engine, access, spec)
    return endOf(engine, spec.name)
  },
  channel: async ({ engine, access, args: [value] }) => {
    const name = checkName(value, 'channel')
    anyOf(access, ANY, name)
    const spec = await engine.channel(name)
    return spec === undefined ? null : { spec, end: await endOf(engine, name) }
  },
  backup: async ({ engine, access, args: [directory] }) => {
    // The path is on this machine, so only processes on this machine may name one.
    if (access !== localAccess)
      throw new MillraceError(
        'FORBIDDEN',
        'a backup is made on the machine of the data: millrace backup DIR --data …',
        { action: 'manage' },
      )
    if (typeof directory !== 'string' || !isAbsolute(directory))
      throw malformed('the directory of a backup is an absolute path')
    if (engine.backup === undefined) throw noFiles(engine.name)
    return engine.backup(directory)
  },
  describe: async ({ engine, access }) => visible(await engine.describe(), access),
  channels: async ({ engine, access }) => (await engine.channels()).filter(({ name }) => isSeen(access, name)),
  bounds: async ({ engine, access, args: [value] }) => {
    const name = checkName(value, 'channel')
    anyOf(access, ANY, name)
    return engine.bounds(name)
  },
  retries: async ({ engine, access, args: [value, limit] }) => {
    const consumer = await consumerOf(engine, access, 'read', value, null)
    const most = wholeNumber(limit as number, 'limit', 1, LIMITS.listedRetriesMax)
    const retries = await engine.consumers.retries(consumer, most)
    const channels = new Set(retries.map(({ channel }) => channel))
    // The events of these failures are not at hand.
    if (!(await hidesErrors(engine, channels, seeing(access)))) return retries
    return retries.map(({ failure: { name, kind }, ...rest }) => ({ ...rest, failure: { name, kind, message: MASK } }))
  },
  publishLoad: async ({ engine, access, args: [value] }) => {
    const name = checkName(value, 'channel')
    anyOf(access, ANY, name)
    return engine.publishLoad(name)
  },
  describeChannel: async ({ engine, access, args: [value] }) => {
    const name = checkName(value, 'channel')
    anyOf(access, ANY, name)
    return engine.describeChannel(name)
  },
  alarms: async ({ engine, access }) => (isSeen(access, '>') ? engine.alarms.ask() : []),
  consumer: async ({ engine, access, args: [value] }) => {
    const described = await engine.consumers.describe(checkName(value, 'consumer'))
    return described === null ? null : (visibleConsumer(described, access) ?? null)
  },
  rewind: async ({ engine, access, args: [value, to, channel, state = null] }) => {
    const consumer = await consumerOf(engine, access, 'manage', value, channel)
    if (ownerOf(consumer) !== null && !allows(access, 'manage', '>')) throw notYours(access, 'manage', consumer)
    if (state !== null) checkStateChoice(state)
    const named = channel === null ? null : checkName(channel, 'channel')
    await engine.consumers.rewind(consumer, checkPosition(to), named, state)
  },
  setPause: async ({ engine, access, args: [value, pause] }) => {
    const consumer = await consumerOf(engine, access, 'manage', value, null)
    checkOwn(access, 'manage', consumer)
    await engine.consumers.setPause(consumer, checkPause(pause, access))
  },
  removeConsumer: async ({ engine, access, args: [value] }) => {
    const consumer = await consumerOf(engine, access, 'manage', value, null)
    checkOwn(access, 'manage', consumer)
    await engine.consumers.remove(consumer)
  },
  removeChannel: async ({ engine, access, args: [channel] }) => {
    access.check('manage', checkName(channel, 'channel'))
    refuseStateChannel(channel as string, 'remove the consumer to delete it')
    await engine.removeChannel(channel as string)
  },
  deadLetters: async ({ engine, access, args: [value, query] }) => {
    const checked = queryOf(query)
    const consumer = await consumerOf(engine, access, 'read', value, checked.channel)
    const letters = await engine.consumers.deadLetters(consumer, checked)
    const seen = await seenLetters(engine, letters, seeing(access))
    return checked.key === undefined ? seen : seen.filter(({ key }) => key === checked.key)
  },
  redrive: async ({ engine, access, args: [value, query] }) => {
    const checked = queryOf(query)
    return engine.consumers.redrive(await managed(engine, access, value, checked), checked)
  },
  dropDeadLetters: async ({ engine, access, args: [value, query] }) => {
    const checked = queryOf(query)
    return engine.consumers.dropDeadLetters(await managed(engine, access, value, checked), checked)
  },
  pending: async ({ engine, access, args: [value, list] }) => {
    const events = checkPlaces(list)
    for (const channel of new Set(events.map((each) => each.channel)))
      await consumerOf(engine, access, 'read', value, channel)
    return engine.consumers.pending(checkName(value, 'consumer'), events)
  },
  inspect: async ({ engine, access, args: [value, of] }) => {
    const event = of === null ? null : checkInspected(of)
    const consumer = await consumerOf(engine, access, 'read', value, event?.channel ?? null)
    if (event === null) return engine.consumers.inspect(consumer, null)
    const { channel, offset } = event
    const isMasked = (await maskFor(engine, channel, seeing(access))) !== null
    const stored = isMasked ? await storedAt(engine, channel, offset) : null
    // Whoever may not see the key has the mask in its place. Another key would tell which events have it.
    const asked = isMasked ? { channel, offset, key: stored?.key ?? null } : event
    const inspected = await engine.consumers.inspect(consumer, asked)
    const readable = withoutPlaces(inspected, (name) => allows(access, 'read', name))
    return seenInspection(engine, readable, { channel, event: stored }, seeing(access))
  },
  limits: async ({ engine, access }) => (isSeen(access, '>') ? limitsIn(engine).list() : []),
  setLimit: async ({ engine, access, args: [name, size] }) => {
    access.check('manage', '>')
    return limitsIn(engine).set(checkLimitName(name), size === null ? null : checkLimitSize(size))
  },
  delayed: async ({ engine, access, args: [channel, query] }) => {
    const name = checkName(channel, 'channel')
    access.check('read', name)
    const checked = checkedDelayedQuery(objectOf(query, 'a query of delayed events'))
    const list = await engine.delays.list(name, checked)
    return seenDelayed(engine, name, { list, query: checked }, seeing(access))
  },
  cancelDelayed: async ({ engine, access, args: [channel, id] }) => {
    const name = checkName(channel, 'channel')
    access.check('manage', name)
    return engine.delays.cancel(name, checkedDelayedId(id as string))
  },
}

function seeing(access: Access): MaySee {
  return (channel) => allows(access, 'sensitive', channel)
}

/** The consumer whose dead letters the caller wants to redrive or drop. @throws FORBIDDEN · INVALID_NAME */
async function managed(engine: Engine, access: Access, value: unknown, chosen: DeadLetterQuery): Promise<string> {
  const consumer = await consumerOf(engine, access, 'manage', value, chosen.channel)
  if (chosen.key === undefined) return consumer
  const taken = ((await engine.consumers.describe(consumer))?.channels ?? []).map(({ channel }) => channel)
  await checkChoiceByKey(engine, chosen.channel === undefined ? taken : [chosen.channel], seeing(access))
  return consumer
}

/** The end of a channel, for a client that prepares to publish. For a channel that was removed meanwhile, it is 0. */
async function endOf(engine: Engine, channel: string): Promise<number> {
  return (await boundsIn(engine, channel))?.next ?? 0
}

/**
 * A caller that may not declare channels may still repeat the declaration of an existing one, if the kind is the same.
 * @throws FORBIDDEN · CHANNEL_CONFLICT · INCOMPATIBLE_SCHEMA
 */
async function mustBeThere(engine: Engine, access: Access, spec: ChannelSpec): Promise<void> {
  anyOf(access, ANY, spec.name)
  const existing = await engine.channel(spec.name)
  if (existing === undefined) access.check('manage', spec.name)
  else if (existing.kind !== spec.kind) {
    throw new MillraceError('CHANNEL_CONFLICT', `channel "${spec.name}" is a ${existing.kind}, not a ${spec.kind}`, {
      channel: spec.name,
    })
  } else redeclared(existing, spec)
}

/**
 * The caller needs the permission on the named channel, or else on every channel of the consumer. The error is the same
 * for a consumer that does not exist, so that it does not reveal which consumers exist.
 * @throws FORBIDDEN · INVALID_NAME
 */
async function consumerOf(
  engine: Engine,
  access: Access,
  permission: Permission,
  value: unknown,
  channel: unknown,
): Promise<string> {
  const consumer = checkName(value, 'consumer')
  const named = typeof channel === 'string' ? checkName(channel, 'channel') : null
  if (named !== null) access.check(permission, named)
  if (allows(access, permission, '>')) return consumer
  const all = (await engine.consumers.describe(consumer))?.channels ?? []
  const channels = named === null ? all : all.filter((position) => position.channel === named)
  if (channels.length > 0 && channels.every((position) => allows(access, permission, position.channel))) return consumer
  throw notYours(access, permission, consumer)
}

function notYours({ name }: Access, permission: Permission, consumer: string): MillraceError {
  const message = `there is no consumer "${consumer}" that ${name} may ${permission}: the caller needs the permission for every channel of it`
  return new MillraceError('FORBIDDEN', message, { action: permission, consumer })
}

type Description = EngineDescription

/** The part of the description that the caller is allowed to see. */
function visible(description: Description, access: Access): Description {
  return {
    channels: description.channels.filter(({ name }) => isSeen(access, name)),
    consumers: description.consumers.flatMap((consumer) => visibleConsumer(consumer, access) ?? []),
    alarms: isSeen(access, '>') ? description.alarms : [],
  }
}

/** What its instances have counted, in all channels together, is for callers that see all of them. */
function visibleConsumer({ counted, ...consumer }: CountedConsumer, access: Access): CountedConsumer | undefined {
  const channels = consumer.channels.filter(({ channel }) => isSeen(access, channel))
  return channels.length === 0 && !isSeen(access, '>')
    ? undefined
    : {
        ...consumer,
        channels,
        ...(counted !== undefined && channels.length === consumer.channels.length && { counted }),
      }
}

function isSeen(access: Access, channel: string): boolean {
  return ANY.some((permission) => allows(access, permission, channel))
}

/** The caller needs at least one of the permissions on the channel. @throws FORBIDDEN */
function anyOf(access: Access, permissions: readonly Permission[], channel: string): void {
  if (permissions.some((permission) => allows(access, permission, channel))) return
  const message = `${access.name} has no permission for channel "${channel}": use a token with a permission`
  throw new MillraceError('FORBIDDEN', message, { channel })
}

function queryOf(value: unknown): DeadLetterQuery {
  return checkedQuery(objectOf(value, 'a dead-letter query'))
}
