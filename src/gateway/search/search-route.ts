/**
 * `GET /channels/{channel}/search`: a search through a channel that reports its progress. It reads as fast as the
 * client takes the results, from the newest event or from the oldest. It ends when everything is read, when enough is
 * found, or when the client disconnects. Its last message says where another search can continue.
 */
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { StoredText } from '../../broker/engine.ts'
import { engineOf } from '../../broker/engine-of.ts'
import { type MaySee, maskFor } from '../../broker/seen-events.ts'
import { compilePattern } from '../../pattern/pattern.ts'
import { filterOf, firstOffset, oneLine, readTexts, type TextFilter } from '../channel-texts.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { badRequest } from '../problem.ts'
import { countOf, positionOf } from '../query.ts'
import type { GatewayRequest, Parameter, Route } from '../route.ts'
import { CHANNEL, FILTER, FROM, WHERE } from '../schemas.ts'
import { type SseMessage, sseAnswer } from '../sse-answer.ts'

/** How many offsets are read at once in a search from the newest event. */
const WINDOW = 2000

interface Search {
  readonly channel: string
  /** Offsets from `from` (inclusive) to `to` (exclusive). */
  readonly from: number
  readonly to: number
  readonly newestFirst: boolean
  readonly filter: TextFilter | null
  readonly limit: number
  readonly maySee: MaySee
}

const text = (description: string): Parameter => ({ description, schema: { type: 'string' } })

export function searchRoute(host: GatewayHost): Route {
  let running = 0
  return {
    method: 'GET',
    path: '/channels/{channel}/search',
    name: 'searchEvents',
    summary:
      'Search a channel by Server-Sent Events: hit, progress, and at last end, which says where it stopped and why.',
    description:
      'progress and end have: looked (offsets looked at), of (offsets there are to look at), found, and next, the position from which a further search ' +
      'continues (from= for order=oldest, to= for order=newest), or null at the end when all was looked at. ' +
      'end has masked: true if the channel has sensitive fields that the caller may not see: filters do not find their values.',
    tag: 'events',
    access: { action: 'read', of: 'channel' },
    noHead: true,
    parameters: { channel: CHANNEL },
    query: {
      from: { ...FROM, description: `${FROM.description} Default: the beginning.` },
      to: { ...FROM, description: `Up to, without it: ${FROM.description} Default: the end.` },
      order: { description: 'Where to begin.', schema: { enum: ['newest', 'oldest'], default: 'newest' } },
      limit: {
        description: 'Stop after this many hits.',
        schema: {
          type: 'integer',
          minimum: 1,
          maximum: LIMITS.gatewayPageEventsMax,
          default: LIMITS.gatewayPageEventsDefault,
        },
      },
      where: WHERE,
      filter: FILTER,
      key: text('Only events with this key (partitionkey).'),
      id: text('Only the event with this id.'),
    },
    answers: { 200: { description: 'Each message is JSON.', content: { 'text/event-stream': { type: 'string' } } } },
    refuses: [
      'INVALID_PATTERN',
      'INVALID_EXPRESSION',
      'UNKNOWN_CHANNEL',
      'OFFSET_OUT_OF_RANGE',
      'BACKPRESSURE',
      'CLOSED',
    ],
    handle: async (request) => {
      const search = await searchOf(request, host)
      if (running >= LIMITS.gatewaySearchesMax)
        throw new MillraceError('BACKPRESSURE', `${running} searches run, which is the limit: try again later`, {
          searchesMax: LIMITS.gatewaySearchesMax,
        })
      running++
      const over = (): void => {
        running--
      }
      return sseAnswer(request, host, (signal) => messages(search, host, signal), over)
    },
  }
}

async function searchOf(request: GatewayRequest, host: GatewayHost): Promise<Search> {
  const { from, to, order = 'newest', limit, key, id } = request.query
  if (order !== 'newest' && order !== 'oldest') throw badRequest(400, 'order must be newest or oldest')
  const channel = request.parameters['channel'] as string
  const filters = [
    filterOf(request.query),
    ...(key === undefined ? [] : [patternFilter({ partitionkey: [key] })]),
    ...(id === undefined ? [] : [patternFilter({ id: [id] })]),
  ].filter((filter) => filter !== null)
  const { first, next } = await engineOf(host.broker).bounds(channel)
  const place = async (said: string | undefined, name: string, otherwise: number): Promise<number> =>
    said === undefined
      ? otherwise
      : Math.max(first, Math.min(next, await firstOffset(host.core, channel, positionOf(name, said))))
  return {
    channel,
    from: await place(from, 'from', first),
    to: await place(to, 'to', next),
    newestFirst: order === 'newest',
    filter: filters.length === 0 ? null : (event) => filters.every((filter) => filter(event)),
    limit:
      limit === undefined ? LIMITS.gatewayPageEventsDefault : countOf('limit', limit, 1, LIMITS.gatewayPageEventsMax),
    maySee: request.maySee,
  }
}

function patternFilter(pattern: Parameters<typeof compilePattern>[0]): TextFilter {
  const compiled = compilePattern(pattern)
  return (event) => compiled.matches(event)
}

async function* messages(search: Search, host: GatewayHost, signal: AbortSignal): AsyncGenerator<SseMessage> {
  const { from, to, newestFirst, limit } = search
  const of = Math.max(0, to - from)
  let found = 0
  let at = newestFirst ? to : from
  let size = WINDOW
  const looked = (): number => (of === 0 ? 0 : newestFirst ? to - at : at - from)
  const isOver = (): boolean => (newestFirst ? at <= from : at >= to)
  while (!isOver() && found < limit) {
    const window = newestFirst ? { from: Math.max(from, at - size), to: at } : { from: at, to: Math.min(to, at + size) }
    const { hits, edge, isFull } = await hitsIn(host, search, window, limit - found, signal)
    if (signal.aborted) return
    for (const hit of hits) yield { event: 'hit', data: hitText(hit) }
    found += hits.length
    at = edge
    // Of large events, windows are as small as what is kept of one: so no event is read many times.
    size = isFull ? Math.max(1, Math.abs(at - (newestFirst ? window.to : window.from))) : Math.min(WINDOW, 2 * size)
    yield { event: 'progress', data: JSON.stringify({ looked: looked(), of, found, next: at }) }
  }
  const masked = (await maskFor(host.core.engine, search.channel, search.maySee)) !== null
  const next = isOver() ? null : at
  yield { event: 'end', data: JSON.stringify({ looked: looked(), of, found, next, ...(masked && { masked }) }) }
}

interface Hits {
  /** In the order of the search. */
  readonly hits: readonly StoredText[]
  /** The search continues there: the window was looked through up to it. */
  readonly edge: number
  /** Not the whole window: there are more hits than fit. */
  readonly isFull: boolean
}

/** The first hits of a window in the order of the search, as many as fit. */
async function hitsIn(
  host: GatewayHost,
  search: Search,
  window: { readonly from: number; readonly to: number },
  room: number,
  signal: AbortSignal,
): Promise<Hits> {
  const { filter, newestFirst } = search
  const hits: StoredText[] = []
  let chars = 0
  let isFull = false
  const isMore = (): boolean => hits.length > 1 && (hits.length > room || chars > LIMITS.gatewayPageBytesMax)
  for await (const event of eventsIn(host, search, window, signal)) {
    if (filter !== null && !filter(event.text)) continue
    hits.push(event)
    chars += event.text.length
    // Events are read from the oldest on. In a search from the newest, the last ones of the window are kept.
    while (newestFirst && isMore()) {
      chars -= hits.shift()?.text.length ?? 0
      isFull = true
    }
    if (newestFirst || (hits.length < room && chars <= LIMITS.gatewayPageBytesMax)) continue
    isFull = true
    break
  }
  isFull ||= hits.length === room
  if (newestFirst) hits.reverse()
  const last = hits.at(-1)
  if (!isFull || last === undefined) return { hits, edge: newestFirst ? window.from : window.to, isFull: false }
  return { hits, edge: newestFirst ? last.offset : last.offset + 1, isFull }
}

async function* eventsIn(
  host: GatewayHost,
  { channel, maySee }: Search,
  { from, to }: { readonly from: number; readonly to: number },
  signal: AbortSignal,
): AsyncGenerator<StoredText> {
  try {
    const range = { from: { offset: from }, to: { offset: to }, signal, maySee }
    for await (const batch of await readTexts(host.core, channel, range)) yield* batch
  } catch (error) {
    // Retention has removed the events meanwhile, so there is nothing to read.
    if (!isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
  }
}

function hitText({ offset, text: event }: StoredText): string {
  return `{"offset":${offset},"event":${oneLine(event)}}`
}
