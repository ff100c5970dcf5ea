/**
 * The calls that read tables at the server. They need the permission `read` on the channel, which must be named where
 * it is Millrace's own, as those of states are. In a channel with sensitive fields they also need `sensitive`, because
 * the key may be made from such a field.
 */
import { LIMITS } from '../../base/limits.ts'
import { checkName } from '../../base/names.ts'
import { wholeNumber } from '../../base/units.ts'
import type { Engine } from '../../broker/engine.ts'
import { checkChoiceByKey } from '../../broker/seen-events.ts'
import { type Access, allows } from '../access.ts'
import { malformed } from '../frame.ts'
import { objectOf } from './checks.ts'

interface Asked {
  readonly engine: Engine
  readonly access: Access
  readonly args: readonly unknown[]
}

export const TABLE_CALLS: Readonly<Record<string, (asked: Asked) => Promise<unknown>>> = {
  'tables.get': async (asked) => asked.engine.tables.get(await channelOf(asked), textOf(asked.args[1])),
  'tables.scan': async (asked) => {
    const channel = await channelOf(asked)
    const { prefix, after, limit } = objectOf(asked.args[1], 'a query of a table') as Record<string, unknown>
    return asked.engine.tables.scan(channel, {
      prefix: textOf(prefix),
      after: after === null ? null : textOf(after),
      limit: wholeNumber(limit as number, 'limit', 1, LIMITS.tablePageMax),
    })
  },
}

/** @throws INVALID_NAME · FORBIDDEN */
async function channelOf({ engine, access, args: [channel] }: Asked): Promise<string> {
  const name = checkName(channel, 'channel')
  access.check('read', name)
  await checkChoiceByKey(engine, [name], (each) => allows(access, 'sensitive', each))
  return name
}

/** A key, or the beginning of one. @throws INVALID_REQUEST */
function textOf(value: unknown): string {
  if (typeof value === 'string' && value.length <= LIMITS.keyBytesMax && !value.includes('\0')) return value
  throw malformed('a key is text without U+0000')
}
