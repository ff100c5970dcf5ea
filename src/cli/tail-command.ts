/** `millrace tail`: events of channels, from a place on, as they come. */
import { compileWildcard, isWildcard } from '../base/names.ts'
import type { Broker, ReadOptions } from '../broker/broker.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { PatternJson } from '../pattern/pattern-type.ts'
import { colour, complete, print, printJson } from './output.ts'
import { countOf, jsonOf, looking, placeOf, type TargetOptions } from './target.ts'

export interface TailCommandOptions extends TargetOptions {
  readonly from?: string
  readonly to?: string
  readonly where?: string
  readonly limit?: string
  readonly follow?: boolean
}

/** Channels that come later, and that a wildcard matches, are found after at most this long. */
const LOOK_MS = 1000

interface Shown {
  readonly channel: string
  readonly event: StoredEvent
}

export async function tailCommand(names: readonly string[], options: TailCommandOptions): Promise<void> {
  const stop = new AbortController()
  const interrupt = (): void => stop.abort()
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const limit = options.limit === undefined ? Number.POSITIVE_INFINITY : countOf('limit', options.limit)
  const several = names.length > 1 || names.some(isWildcard)
  const count = await looking(options, async (broker) => {
    const reading: ReadOptions = {
      from: placeOf(options.from ?? (options.follow === true ? 'end' : 'beginning')),
      follow: options.follow ?? false,
      signal: stop.signal,
      ...(options.to !== undefined && { to: placeOf(options.to) }),
      ...(options.where !== undefined && { where: jsonOf(options.where, '--where') as PatternJson }),
    }
    let shown = 0
    if (limit === 0) return shown
    for await (const { channel, event } of options.follow === true ? followed(broker, names, reading) : merged(broker, names, reading)) {
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

/** The channels that are named, and those there are that a wildcard matches. */
async function channelsOf(broker: Broker, names: readonly string[]): Promise<string[]> {
  const wildcards = names.filter(isWildcard).map(compileWildcard)
  if (wildcards.length === 0) return [...new Set(names)]
  const there = (await broker.describe()).channels.map(({ name }) => name).filter((name) => wildcards.some((matches) => matches(name)))
  return [...new Set([...names.filter((name) => !isWildcard(name)), ...there])]
}

/** What is there, of all channels in the order of the events' times; within a channel in its own order. */
async function* merged(broker: Broker, names: readonly string[], reading: ReadOptions): AsyncGenerator<Shown> {
  const heads: { readonly channel: string; readonly events: AsyncIterator<StoredEvent>; event: StoredEvent }[] = []
  for (const channel of await channelsOf(broker, names)) {
    const events = broker.read(channel, reading)[Symbol.asyncIterator]()
    const first = await events.next()
    if (first.done !== true) heads.push({ channel, events, event: first.value })
  }
  while (heads.length > 0) {
    const head = heads.reduce((least, each) => (Date.parse(each.event.time ?? '') < Date.parse(least.event.time ?? '') ? each : least))
    yield { channel: head.channel, event: head.event }
    const next = await head.events.next()
    if (next.done === true) heads.splice(heads.indexOf(head), 1)
    else head.event = next.value
  }
}

/**
 * What comes, as it comes, also in channels that are created meanwhile and that a wildcard matches: those from their beginning. One event of each channel
 * waits at most.
 */
async function* followed(broker: Broker, names: readonly string[], reading: ReadOptions): AsyncGenerator<Shown> {
  const waiting: { readonly shown: Shown; readonly taken: () => void }[] = []
  let wake: () => void = () => undefined
  let failure: { readonly error: unknown } | null = null
  const fail = (error: unknown): void => {
    failure ??= { error }
    wake()
  }
  const follow = async (channel: string, from: ReadOptions['from']): Promise<void> => {
    for await (const event of broker.read(channel, { ...reading, ...(from !== undefined && { from }) })) {
      await new Promise<void>((taken) => {
        waiting.push({ shown: { channel, event }, taken })
        wake()
      })
    }
  }
  const known = new Set<string>()
  const look = async (from: ReadOptions['from']): Promise<void> => {
    for (const channel of await channelsOf(broker, names)) {
      if (known.has(channel)) continue
      known.add(channel)
      follow(channel, from).catch(fail)
    }
  }
  await look(reading.from)
  const timer = setInterval(() => {
    if (names.some(isWildcard)) look('beginning').catch(fail)
  }, LOOK_MS)
  reading.signal?.addEventListener('abort', () => wake(), { once: true })
  try {
    while (reading.signal?.aborted !== true) {
      if (failure !== null) throw (failure as { readonly error: unknown }).error
      const next = waiting.shift()
      if (next === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      yield next.shown
      next.taken()
    }
  } finally {
    clearInterval(timer)
  }
}

function lineOf(event: StoredEvent): string {
  const { offset, time, type, id, data } = event
  const shown = data instanceof Uint8Array ? `<${data.length} bytes>` : JSON.stringify(data)
  return `${colour('dim', String(offset).padStart(8))} ${colour('dim', time ?? '')} ${colour('cyan', type)} ${shown ?? ''} ${colour('dim', id)}`
}
