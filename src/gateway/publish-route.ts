/** `POST /channels/:channel/events`: CloudEvents in binary, structured or batched mode. Answers after they are durable. */
import type { Readable } from 'node:stream'
import type { Context } from 'hono'
import { checkName } from '../base/names.ts'
import type { Duration } from '../base/units.ts'
import type { Broker, LooseEvent, PublishLater } from '../broker/broker.ts'
import { decodeHttp, httpModeOf } from '../event/http/decode-http.ts'
import { BATCHED, STRUCTURED } from '../event/http/media-type.ts'
import { badRequest } from './problem.ts'
import { parameters } from './query.ts'
import type { RequestBodies } from './request-body.ts'

/** All events of a request are stored, or none. `202` with `{ receipts: [{ channel, id, offset, duplicate }] }`. */
export async function publishRoute(c: Context, broker: Broker, bodies: RequestBodies): Promise<Response> {
  const channel = checkName(c.req.param('channel'), 'channel')
  const later = laterOf(c.req.url)
  const request = c.req.raw
  const mode = httpModeOf(request.headers)
  if (mode === 'foreign' || mode === 'none') {
    const contentType = request.headers.get('content-type')
    throw badRequest(415, `there is no CloudEvent in the request that can be read: send ${STRUCTURED}, ${BATCHED}, or the binary mode's ce- headers`, {
      contentType,
    })
  }
  const { incoming } = (c.env ?? {}) as { readonly incoming?: Readable }
  return bodies.read(request, incoming, async (body) => {
    const events = decodeHttp(request.headers, body).map(forPublish)
    const receipts = await broker.publish(channel, events, later)
    return c.json({ receipts }, 202)
  })
}

/** Binary data as the broker takes it: bytes, so that a schema sees what a handler will. */
function forPublish(event: LooseEvent): LooseEvent {
  if (event.data_base64 === undefined) return event
  const { data_base64: base64, ...rest } = event
  return { ...rest, data: new Uint8Array(Buffer.from(base64, 'base64')) }
}

function laterOf(url: string): PublishLater {
  const { delay, at } = parameters(url, ['delay', 'at'])
  if (at === undefined) return delay === undefined ? {} : { delay: delay as Duration }
  const date = new Date(at)
  if (!Number.isFinite(date.getTime())) throw badRequest(400, `at must be an RFC 3339 time; it is "${at.slice(0, 60)}"`, { parameter: 'at' })
  return { at: date, ...(delay !== undefined && { delay: delay as Duration }) }
}
