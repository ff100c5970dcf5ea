/** `millrace delayed`: the delayed events of a channel. */
import { MillraceError } from '../base/errors.ts'
import type { DelayedQuery } from '../broker/delays.ts'
import { noteOf } from './actor.ts'
import { complete, print, printJson, table } from './output.ts'
import { changing, countOf, looking, type TargetOptions } from './target.ts'

export interface DelayedOptions extends TargetOptions {
  readonly id?: string
  readonly key?: string
  readonly limit?: string
  readonly reason?: string
}

function queryOf({ id, key, limit }: DelayedOptions): DelayedQuery {
  return {
    ...(id !== undefined && { id }),
    ...(key !== undefined && { key }),
    ...(limit !== undefined && { limit: countOf('limit', limit, 1) }),
  }
}

export async function delayedListCommand(channel: string, options: DelayedOptions): Promise<void> {
  const found = await looking(options, (broker) => broker.channel(channel).delayed.list(queryOf(options)))
  if (options.json === true) printJson(found)
  else
    print(
      table(
        ['due', 'type', 'key', 'id'],
        found.map(({ dueAtMs, type, key, id }) => [new Date(dueAtMs).toISOString(), type, key ?? '', id]),
      ),
    )
  complete(`${found.length} delayed event(s) of ${channel}`, options)
}

export async function delayedCancelCommand(channel: string, options: DelayedOptions): Promise<void> {
  const { id, key } = options
  if (id !== undefined && key !== undefined)
    throw new MillraceError('INVALID_OPTION', 'give --id or --key, not both', { option: 'key' })
  if (key !== undefined) {
    const cancelled = await changing(options, (broker) =>
      broker.channel(channel).delayed.cancelKey(key, noteOf(options)),
    )
    if (options.json === true) printJson({ channel, key, cancelled })
    return complete(`cancelled ${cancelled} delayed event(s) of ${channel} with the key ${key}`, options)
  }
  if (id === undefined)
    throw new MillraceError('INVALID_OPTION', 'name the event: --id, or all of a key: --key', { option: 'id' })
  const cancelled = await changing(options, (broker) => broker.channel(channel).delayed.cancel(id, noteOf(options)))
  if (options.json === true) printJson({ channel, id, cancelled })
  complete(
    cancelled
      ? `cancelled ${id}: it will not be stored`
      : `${channel} has no delayed event ${id}: it is stored already, or was never published`,
    options,
  )
}
