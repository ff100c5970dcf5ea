/** What is known of a request before it is handled, in one form for `fetch` requests and WebSocket upgrades. */
import type { IncomingMessage } from 'node:http'

export interface Caller {
  readonly method: string
  readonly url: URL
  /** The address of the client's end of the connection, if it is known. */
  readonly address: string | undefined
  /** The value of a header. `name` is in lower case. */
  header(name: string): string | undefined
}

export function callerOfRequest(request: Request, incoming: IncomingMessage | undefined): Caller {
  return {
    method: request.method,
    url: new URL(request.url),
    address: incoming?.socket?.remoteAddress,
    header: (name) => request.headers.get(name) ?? undefined,
  }
}

/** The caller of an upgrade, for which Node makes no `Request`. @throws TypeError when the target is not a URL */
export function callerOfUpgrade(incoming: IncomingMessage): Caller {
  const { headers } = incoming
  return {
    method: incoming.method ?? 'GET',
    url: new URL(incoming.url ?? '/', `http://${headers.host ?? 'localhost'}`),
    address: incoming.socket.remoteAddress,
    header: (name) => {
      const value = headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
  }
}

export function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127(?:\.\d{1,3}){3}$/.test(address)
}

export function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || isLoopbackAddress(host)
}
