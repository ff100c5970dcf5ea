/** `millrace tail`: prints the events of channels from a position on, and new ones as they arrive. */
import { isWildcard } from '../base/names.ts'
import type { ReadOptions } from '../broker/reading.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { colour, complete, endWithReader, print, printJson } from './output.ts'
import { countOf, jsonOf, looking, positionOf, type TargetOptions } from './target.ts'

export interface TailCommandOptions extends TargetOptions {
  readonly from?: string
  readonly to?: string
  readonly where?: string
  readonly limit?: string
  readonly follow?: boolean
}

export async function tailCommand(names: readonly string[], options: TailCommandOptions): Promise<void> {
  endWithReader()
  const stop = new AbortController()
  const interrupt = (): void => stop.abort()
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const limit = options.limit === undefined ? Number.POSITIVE_INFINITY : countOf('limit', options.limit)
  const several = names.length > 1 || names.some(isWildcard)
  const count = await looking(options, async (broker) => {
    const reading: ReadOptions = {
      from: positionOf(options.from ?? (options.follow === true ? 'end' : 'beginning')),
      follow: options.follow ?? false,
      signal: stop.signal,
      ...(options.to !== undefined && { to: positionOf(options.to) }),
      ...(options.where !== undefined && { where: jsonOf(options.where, '--where') as PatternJson }),
    }
    let shown = 0
    if (limit === 0) return shown
    for await (const { channel, event } of broker.tail(names, reading)) {
      if (options.json === true) printJson(several ? { channel, ...event } : event)
      else print(several ? `${colour('green', channel)} ${lineOf(event)}` : lineOf(event))
      if (++shown >= limit) break
    }
    stop.abort()
    return shown
  })
  process.off('SIGINT', interrupt)
  process.off('SIGTERM', interrupt)
  complete(`${count} event(s) of ${names.join(', ')}`, options)
}

function lineOf(event: StoredEvent): string {
  const { offset, time, type, id, data } = event
  const shown = data instanceof Uint8Array ? `<${data.length} bytes>` : JSON.stringify(data)
  return `${colour('dim', String(offset).padStart(8))} ${colour('dim', time ?? '')} ${colour('cyan', type)} ${shown ?? ''} ${colour('dim', id)}`
}
