/**
 * Answers on the hot path of our own server: the text goes to Node's response directly.
 *
 * To make a `Response` with a body and to read it again costs a third of a single publish. Other servers get the usual
 * `Response`.
 */
import type { ServerResponse } from 'node:http'
import type { GatewayRequest } from './route.ts'

/** Our own server passes it with Node's objects: the answer's text is left in it. */
export interface DirectAnswer {
  text: string | null
}

/**
 * The header that says that the text was left in `DirectAnswer`. A refusal that replaces the answer does not have it.
 */
const MARK = 'x-millrace-direct'

export function jsonAnswer({ direct }: GatewayRequest, value: unknown, status: number): Response {
  const text = JSON.stringify(value)
  const headers = { 'content-type': 'application/json' }
  if (direct === undefined) return new Response(text, { status, headers })
  direct.text = text
  return new Response(null, { status, headers: { ...headers, [MARK]: '1' } })
}

/** Write the text that was left. Returns whether there was one. */
export function writeDirect(answer: Response, { text }: DirectAnswer, outgoing: ServerResponse): boolean {
  if (text === null || !answer.headers.has(MARK)) return false
  const headers: Record<string, string | number> = {}
  for (const [name, value] of answer.headers) if (name !== MARK) headers[name] = value
  headers['content-length'] = Buffer.byteLength(text)
  outgoing.writeHead(answer.status, headers)
  outgoing.end(text)
  return true
}
