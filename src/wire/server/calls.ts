/** The engine's calls that are question and answer, by name, with what they need to be allowed. */
import { MillraceError } from '../../base/errors.ts'
import { checkName } from '../../base/names.ts'
import type { DeadLetterQuery } from '../../broker/description.ts'
import type { Engine } from '../../broker/engine.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import type { Access, Permission } from '../access.ts'
import { malformed } from '../frame.ts'
import { checkChannelSpec, checkPosition } from './checks.ts'

export interface Call {
  readonly method: string
  readonly args: readonly unknown[]
}

/** Where channels end, now or not long ago: what a client is told of a channel that it prepares. */
export type EndOf = (channel: string) => Promise<number>

type Method = (engine: Engine, access: Access, args: readonly unknown[], endOf: EndOf) => Promise<unknown>

export const METHODS: Readonly<Record<string, Method>> = {
  declare: async (engine, access, [value], endOf) => {
    const spec = checkChannelSpec(value)
    if (!allows(access, 'manage', spec.name)) await mustBeThere(engine, access, spec)
    else await engine.declare(spec)
    return endOf(spec.name)
  },
  channel: async (engine, access, [value], endOf) => {
    const name = checkName(value, 'channel')
    anyOf(access, ['publish', 'consume', 'read', 'manage'], name)
    const spec = await engine.channel(name)
    return spec === undefined ? null : { spec, end: await endOf(name) }
  },
  describe: async (engine, access) => {
    access.check('read', null)
    return engine.describe()
  },
  rewind: async (engine, access, [consumer, to, channel]) => {
    access.check('manage', channel === null ? null : checkName(channel, 'channel'))
    await engine.rewind(checkName(consumer, 'consumer'), checkPosition(to), channel as string | null)
  },
  removeConsumer: async (engine, access, [consumer]) => {
    access.check('manage', null)
    await engine.removeConsumer(checkName(consumer, 'consumer'))
  },
  removeChannel: async (engine, access, [channel]) => {
    access.check('manage', checkName(channel, 'channel'))
    await engine.removeChannel(channel as string)
  },
  deadLetters: async (engine, access, [consumer, query]) => {
    access.check('read', null)
    return engine.deadLetters(checkName(consumer, 'consumer'), queryOf(query))
  },
  redrive: async (engine, access, [consumer, query]) => {
    access.check('manage', null)
    return engine.redrive(checkName(consumer, 'consumer'), queryOf(query))
  },
  dropDeadLetters: async (engine, access, [consumer, query]) => {
    access.check('manage', null)
    return engine.dropDeadLetters(checkName(consumer, 'consumer'), queryOf(query))
  },
}

/** Who may not declare may still say what it believes a channel to be, if it is that. @throws FORBIDDEN · CHANNEL_CONFLICT */
async function mustBeThere(engine: Engine, access: Access, spec: ChannelSpec): Promise<void> {
  anyOf(access, ['publish', 'consume', 'read'], spec.name)
  const existing = await engine.channel(spec.name)
  if (existing === undefined) access.check('manage', spec.name)
  else if (existing.kind !== spec.kind) {
    throw new MillraceError('CHANNEL_CONFLICT', `channel "${spec.name}" is a ${existing.kind}, not a ${spec.kind}`, { channel: spec.name })
  }
}

function allows(access: Access, permission: Permission, channel: string | null): boolean {
  try {
    access.check(permission, channel)
    return true
  } catch {
    return false
  }
}

function anyOf(access: Access, permissions: readonly Permission[], channel: string): void {
  if (!permissions.some((permission) => allows(access, permission, channel))) access.check(permissions[0] as Permission, channel)
}

function queryOf(value: unknown): DeadLetterQuery {
  if (typeof value !== 'object' || value === null) throw malformed('a dead-letter query is not an object')
  return value
}
