/** `millrace tail`: events of a channel, from a place on, as they come. */
import type { ReadOptions } from '../broker/broker.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { colour, complete, print, printJson } from './output.ts'
import { jsonOf, looking, placeOf, type TargetOptions } from './target.ts'

export interface TailCommandOptions extends TargetOptions {
  readonly from?: string
  readonly to?: string
  readonly where?: string
  readonly limit?: string
  readonly follow?: boolean
}

export async function tailCommand(channel: string, options: TailCommandOptions): Promise<void> {
  const stop = new AbortController()
  const interrupt = (): void => stop.abort()
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const limit = options.limit === undefined ? Number.POSITIVE_INFINITY : Number(options.limit)
  const count = await looking(options, async (broker) => {
    const reading: ReadOptions = {
      from: placeOf(options.from ?? (options.follow === true ? 'end' : 'beginning')),
      follow: options.follow ?? false,
      signal: stop.signal,
      ...(options.to !== undefined && { to: placeOf(options.to) }),
      ...(options.where !== undefined && { where: jsonOf(options.where, '--where') as PatternJson }),
    }
    // A follower that waits is to keep the process alive.
    const alive = setInterval(() => undefined, 60_000)
    let shown = 0
    try {
      if (limit > 0) {
        for await (const event of broker.read(channel, reading)) {
          if (options.json === true) printJson(event)
          else print(lineOf(event))
          if (++shown >= limit) break
        }
      }
    } finally {
      clearInterval(alive)
    }
    return shown
  })
  process.off('SIGINT', interrupt)
  process.off('SIGTERM', interrupt)
  complete(`${count} event(s) of ${channel}`, options)
}

function lineOf(event: StoredEvent): string {
  const { offset, time, type, id, data } = event
  const shown = data instanceof Uint8Array ? `<${data.length} bytes>` : JSON.stringify(data)
  return `${colour('dim', String(offset).padStart(8))} ${colour('dim', time ?? '')} ${colour('cyan', type)} ${shown ?? ''} ${colour('dim', id)}`
}
