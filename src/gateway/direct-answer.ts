/**
 * Answers on the hot path of our own server: the text goes to Node's response as it is. To make a `Response` with a body, and to read it again, costs a third of
 * a single publish; other servers get that `Response` all the same.
 */
import type { ServerResponse } from 'node:http'
import type { GatewayRequest } from './route.ts'

/** Passed by our own server, beside Node's objects: where a text is left for it. */
export interface DirectAnswer {
  text: string | null
}

/** Says that the answer's text was left. An answer that took this one's place (a refusal) does not have it. */
const MARK = 'x-millrace-direct'

export function jsonAnswer({ direct }: GatewayRequest, value: unknown, status: number): Response {
  const text = JSON.stringify(value)
  const headers = { 'content-type': 'application/json' }
  if (direct === undefined) return new Response(text, { status, headers })
  direct.text = text
  return new Response(null, { status, headers: { ...headers, [MARK]: '1' } })
}

/** Write the text that was left; answers whether there was one. */
export function writeDirect(answer: Response, { text }: DirectAnswer, outgoing: ServerResponse): boolean {
  if (text === null || !answer.headers.has(MARK)) return false
  const headers: Record<string, string | number> = {}
  for (const [name, value] of answer.headers) if (name !== MARK) headers[name] = value
  headers['content-length'] = Buffer.byteLength(text)
  outgoing.writeHead(answer.status, headers)
  outgoing.end(text)
  return true
}
