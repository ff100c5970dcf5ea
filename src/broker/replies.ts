/**
 * Replies (clause 22) on their way. All replies go through one stream, `$replies`, which keeps them for some minutes.
 * Their key is the requester: a random text that a broker makes for itself. So a request leaves nothing behind: no
 * channel, and no event once the minutes are over.
 */
import { hash } from 'node:crypto'
import { type Channel, stream } from '../channel/channel.ts'
import type { Encodable } from '../event/encode.ts'
import { copyOf } from '../event/made-now.ts'
import type { Delivery } from './engine.ts'
import type { Failure } from './failure.ts'

export const repliesChannel: Channel = stream('$replies', {
  key: 'replyto',
  retain: { age: '10m', bytes: '256MiB' },
  maxEventBytes: '16MiB',
})

/** The type of the reply to a request that became a dead letter. Its data is a `ReplyProblem`. */
export const PROBLEM_TYPE = 'millrace.problem'

/** Why a request was not answered: a problem document (RFC 9457). */
export interface ReplyProblem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  /** The code of the error, if it has one. */
  readonly code?: string
}

/** Who asked, and in which event. */
export interface ReplyAddress {
  readonly replyto: string
  readonly request: string
  /** Where the request is stored. */
  readonly place: string
}

/** The address for replies to a delivered event; null if it is no request. Most events are none, and are not parsed. */
export function replyAddressOf({ channel, offset, id, text }: Delivery): ReplyAddress | null {
  if (!text.includes('"replyto"')) return null
  const { replyto } = JSON.parse(text) as { readonly replyto?: unknown }
  return typeof replyto === 'string' && replyto !== '' ? { replyto, request: id, place: `${channel}/${offset}` } : null
}

/** The event as a reply. A consumer that handles the request again replies with the same id. */
export function replyEvent(event: Encodable, { replyto, request, place }: ReplyAddress, consumer: string): Encodable {
  const id = `reply/${hash('sha256', `${replyto}/${place}/${consumer}`, 'base64url').slice(0, 32)}`
  return copyOf(event, { ...event, id, replyto, inreplyto: request, replier: consumer })
}

/** The reply to a request that became a dead letter. Only a reason that the handler gave itself is told. */
export function problemEvent({ kind, name, message, code }: Failure): Encodable {
  const rejected = kind === 'rejected'
  const data: ReplyProblem = {
    type: 'about:blank',
    title: rejected ? 'The request was rejected' : 'The request failed',
    status: rejected ? 422 : 500,
    detail: rejected ? message : `the handler failed: ${name}`,
    ...(code !== undefined && { code }),
  }
  return { type: PROBLEM_TYPE, source: '/millrace/replies', data }
}
