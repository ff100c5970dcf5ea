/**
 * A gateway as a request listener of Node's HTTP server, with Node's own objects: the gateway then reads bodies
 * directly, writes short answers directly, and can disconnect a client that stalls.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type DirectAnswer, writeDirect } from './direct-answer.ts'

export type NodeListener = (incoming: IncomingMessage, outgoing: ServerResponse) => void

type Fetch = (request: Request, env: object) => Promise<Response>
type Answered = (answer: Response, outgoing: ServerResponse) => void

/** The function that Node's adapter calls for each request. `answered` gets each answer before it is written. */
export function nodeFetch(fetch: Fetch, answered: Answered = () => undefined) {
  return async (request: Request, env: object): Promise<Response> => {
    const { incoming, outgoing } = env as HttpBindings
    const direct: DirectAnswer = { text: null }
    const answer = await fetch(request, { incoming, outgoing, direct })
    answered(answer, outgoing)
    return writeDirect(answer, direct, outgoing) ? RESPONSE_ALREADY_SENT : answer
  }
}

/** The gateway keeps Node's own Request and Response, because it must not replace an application's globals. */
export function nodeListener(fetch: Fetch): NodeListener {
  const listen = getRequestListener(nodeFetch(fetch), { overrideGlobalObjects: false })
  return (incoming, outgoing) => void listen(incoming, outgoing)
}
