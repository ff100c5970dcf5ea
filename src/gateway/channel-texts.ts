/** Events of a channel as their stored texts: a client gets exactly what was published, digit for digit. */
import { MillraceError } from '../base/errors.ts'
import type { BrokerHost } from '../broker/broker.ts'
import type { StoredText } from '../broker/engine.ts'
import { type From, position } from '../broker/position.ts'
import { type MaySee, readSeen, seesAll } from '../broker/seen-events.ts'
import { compileExpression } from '../pattern/expression/expression.ts'
import { compilePattern } from '../pattern/pattern.ts'
import { patternOf } from './query.ts'
import type { GatewayRequest } from './route.ts'

/** Decides from its text whether an event passes. */
export type TextFilter = (text: string) => boolean

/**
 * The filters of a request: `where` is an event pattern, `filter` a CloudEvents SQL expression. An event must pass
 * both. @throws INVALID_PATTERN · INVALID_EXPRESSION · INVALID_REQUEST
 */
export function filterOf({ where, filter }: GatewayRequest['query']): TextFilter | null {
  const pattern = where === undefined ? null : compilePattern(patternOf(where))
  const expression = filter === undefined ? null : compileExpression(filter)
  if (pattern === null && expression === null) return null
  return (text) =>
    (pattern === null || pattern.matches(text)) &&
    (expression === null || expression.matches(JSON.parse(text) as object))
}

export interface TextReadOptions {
  readonly from: From
  readonly to?: From | undefined
  readonly follow?: boolean
  readonly signal: AbortSignal
  /** Elsewhere, sensitive fields are masked. Filters see the masked text, so nobody can find out what it was. */
  readonly maySee: MaySee
}

/** Batches in offset order, with one in memory at a time. @throws UNKNOWN_CHANNEL · OFFSET_OUT_OF_RANGE · CLOSED */
export async function readTexts(
  host: BrokerHost,
  channel: string,
  options: TextReadOptions,
): Promise<AsyncIterable<readonly StoredText[]>> {
  const { engine, encoder } = host
  if (!encoder.isReady(channel)) await encoder.prepare(channel)
  const nowMs = engine.clock.now()
  const range = {
    from: position(options.from, nowMs),
    to: options.to === undefined ? null : position(options.to, nowMs),
    follow: options.follow ?? false,
    signal: options.signal,
  }
  return options.maySee(channel) ? engine.read(channel, range) : readSeen(engine, channel, range, options.maySee)
}

/** Check that a channel can be read from a position, without reading it. @throws as `readTexts` */
export async function checkReadable(host: BrokerHost, channel: string, from: From): Promise<void> {
  const nothing = (await readTexts(host, channel, { from, to: from, signal: AbortSignal.abort(), maySee: seesAll }))[
    Symbol.asyncIterator
  ]()
  await nothing.next()
  await nothing.return?.()
}

/**
 * The offset of the first event at or after a position; if there is none, the next offset of the channel. @throws as
 * `readTexts`
 */
export async function firstOffset(host: BrokerHost, channel: string, from: From): Promise<number> {
  const { next } = await host.engine.bounds(channel)
  const reading = new AbortController()
  try {
    for await (const [first] of await readTexts(host, channel, {
      from,
      to: { offset: next },
      signal: reading.signal,
      maySee: seesAll,
    }))
      if (first !== undefined) return first.offset
    return next
  } finally {
    reading.abort()
  }
}

/**
 * The JSON text on one line. Line breaks can only stand between JSON values, because inside strings they are escaped.
 */
export function oneLine(text: string): string {
  return text.includes('\n') || text.includes('\r') ? text.replace(/[\r\n]/g, ' ') : text
}

export function closedGateway(): MillraceError {
  return new MillraceError('CLOSED', 'the gateway is closing')
}
