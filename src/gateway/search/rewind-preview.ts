/** `GET /api/consumers/{consumer}/rewind-preview`: what a rewind would do. Nothing is changed. */
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkName } from '../../base/names.ts'
import { seesAll } from '../../broker/seen-events.ts'
import { firstOffset, readTexts } from '../channel-texts.ts'
import { permitConsumer } from '../dead-letter-routes.ts'
import type { GatewayHost } from '../gateway-host.ts'
import { badRequest } from '../problem.ts'
import { positionOf } from '../query.ts'
import type { GatewayRequest, Route } from '../route.ts'
import { CONSUMER, json } from '../schemas.ts'

interface ChannelPreview {
  readonly channel: string
  /** The offset at which the consumer would continue. */
  readonly to: number
  readonly floor: number
  /** How many settled events would be delivered again; negative: how many events would be skipped. */
  readonly events: number
  readonly oldest: string | null
  readonly keys: number
  /** False: only a part of the events was read, so there may be more keys. */
  readonly keysOfAll: boolean
}

export function rewindPreviewRoute(host: GatewayHost): Route {
  return {
    method: 'GET',
    path: '/api/consumers/{consumer}/rewind-preview',
    name: 'previewRewind',
    summary:
      'Preview a rewind: the events and keys that it would deliver again, and the oldest event, for each channel. Nothing is changed.',
    tag: 'management',
    access: { action: 'read', of: 'handler' },
    parameters: { consumer: CONSUMER },
    query: {
      to: {
        description: 'beginning, end, an offset, an RFC 3339 time, or an age such as 1h.',
        required: true,
        schema: { type: 'string' },
      },
      channel: { description: 'Only in this channel.', schema: { type: 'string' } },
    },
    answers: {
      200: {
        description: 'For each stream of the consumer.',
        content: json({
          type: 'object',
          required: ['channels'],
          properties: { channels: { type: 'array', items: { type: 'object' } } },
        }),
      },
    },
    refuses: ['UNKNOWN_CONSUMER', 'OFFSET_OUT_OF_RANGE', 'CLOSED'],
    handle: (request) => preview(request, host),
  }
}

async function preview(request: GatewayRequest, host: GatewayHost): Promise<Response> {
  const consumer = checkName(request.parameters['consumer'], 'consumer')
  const { to, channel } = request.query
  await permitConsumer(request, host, 'read', consumer, channel)
  if (to === undefined) throw badRequest(400, 'name the position: ?to=beginning, an offset, a time or an age')
  const described = (await host.broker.describe()).consumers.find(({ name }) => name === consumer)
  if (described === undefined)
    throw new MillraceError('UNKNOWN_CONSUMER', `there is no consumer "${consumer}"`, { consumer })
  const taken = described.channels.filter((position) => channel === undefined || position.channel === channel)
  const channels: ChannelPreview[] = []
  for (const position of taken) {
    const spec = await host.core.engine.channel(position.channel)
    if (spec?.kind === 'stream') channels.push(await ofChannel(host, position, to, request.signal))
  }
  return Response.json({ channels })
}

async function ofChannel(
  host: GatewayHost,
  { channel, floor }: { readonly channel: string; readonly floor: number },
  said: string,
  signal: AbortSignal,
): Promise<ChannelPreview> {
  const to = await firstOffset(host.core, channel, positionOf('to', said))
  const keys = new Set<string>()
  let oldest: string | null = null
  let looked = 0
  if (to < floor) {
    try {
      for await (const batch of await readTexts(host.core, channel, {
        from: { offset: to },
        to: { offset: floor },
        signal,
        maySee: seesAll,
      })) {
        for (const { key, timeMs } of batch) {
          oldest ??= new Date(timeMs).toISOString()
          if (key !== null) keys.add(key)
        }
        looked += batch.length
        if (looked >= LIMITS.rewindPreviewMax) break
      }
    } catch (error) {
      if (!isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) throw error
    }
  }
  const events = floor - to
  return { channel, to, floor, events, oldest, keys: keys.size, keysOfAll: looked < LIMITS.rewindPreviewMax }
}
