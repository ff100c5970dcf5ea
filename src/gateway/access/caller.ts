/** What is known of a request before it is answered: the same for `fetch` requests and for WebSocket upgrades. */
import type { IncomingMessage } from 'node:http'

export interface Caller {
  readonly method: string
  readonly url: URL
  /** Where the connection comes from, if that is known. */
  readonly address: string | undefined
  /** By lower-case name. */
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

/** Of an upgrade, which has no `Request`. @throws TypeError when the target is no URL */
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
