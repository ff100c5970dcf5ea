/** Requests to a gateway, in JSON. */
import type { Gateway } from '../../src/gateway/index.ts'

export interface JsonAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

/** Sends a request with a JSON body to a gateway. */
export async function ask(
  gateway: Gateway,
  method: string,
  path: string,
  body?: unknown,
  token?: string,
): Promise<JsonAnswer> {
  const headers = {
    'content-type': 'application/json',
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  }
  const got = await gateway.fetch(
    new Request(`http://localhost${path}`, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }),
  )
  const text = await got.text()
  return { status: got.status, body: (text === '' ? {} : JSON.parse(text)) as JsonAnswer['body'] }
}
