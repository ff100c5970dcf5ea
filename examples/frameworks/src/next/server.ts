/**
 * Not a part of an application: it calls the route handlers as Next.js does, so that the tests do not need all of Next.
 * A handler gets a standard Request, to which Next has added x-forwarded headers, and returns a standard Response.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import * as events from './app/events/[[...path]]/route.ts'
import * as orders from './app/orders/route.ts'
import { register } from './instrumentation.ts'

type Handlers = Readonly<Partial<Record<string, (request: Request) => Promise<Response>>>>

process.env['NEXT_RUNTIME'] = 'nodejs'
await register()

/** A request as Next hands it over. */
function requestOf(given: Request): Request {
  const headers = new Headers(given.headers)
  headers.set('x-forwarded-for', '127.0.0.1')
  headers.set('x-forwarded-host', headers.get('host') ?? '')
  headers.set('x-forwarded-proto', 'http')
  const hasBody = given.method !== 'GET' && given.method !== 'HEAD'
  const body = hasBody ? { body: given.body, duplex: 'half' as const } : {}
  return new Request(given.url, { method: given.method, headers, signal: given.signal, ...body })
}

const listener = getRequestListener(
  async (given) => {
    const handlers: Handlers = new URL(given.url).pathname === '/orders' ? orders : events
    return handlers[given.method]?.(requestOf(given)) ?? new Response(null, { status: 405 })
  },
  { overrideGlobalObjects: false },
)
const server = createServer((incoming, outgoing) => void listener(incoming, outgoing))
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  console.log(`listening on port ${(server.address() as AddressInfo).port}`)
})
