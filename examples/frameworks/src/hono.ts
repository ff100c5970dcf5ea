/** Millrace in a Hono application: it publishes, handles, and mounts the gateway with the console at /events. */
import { serve } from '@hono/node-server'
import { Hono } from 'hono'
import { connect, isMillraceError } from 'millrace'
import { createGateway } from 'millrace/gateway'
import { mailer, OrderPlaced, orders } from './orders.ts'

const broker = await connect(process.env['BROKER_URL'] ?? 'file:./data')
const gateway = createGateway(broker, { console: true })
await gateway.started
await broker.start(mailer)

const app = new Hono()
app.mount('/events', gateway.fetch)

app.post('/orders', async (c) => {
  const body = await c.req.json()
  // The order's number is the event's id: a client that sends the order again does not order twice.
  return c.json(await broker.publish(orders, OrderPlaced(body, { id: body.order })), 202)
})
app.onError((error, c) => {
  if (isMillraceError(error, 'SCHEMA_MISMATCH')) return c.json({ error: error.message }, 422)
  throw error
})

const server = serve({ fetch: app.fetch, port: Number(process.env['PORT'] ?? 3000), hostname: '127.0.0.1' }, (info) => {
  console.log(`listening on port ${info.port}`)
})
// WebSocket clients of the gateway: connect('ws://…/events/ws').
server.on('upgrade', (incoming, socket, head) => {
  if (incoming.url?.startsWith('/events/') !== true) {
    socket.destroy()
    return
  }
  incoming.url = incoming.url.slice('/events'.length)
  gateway.upgrade(incoming, socket, head)
})

async function stop(): Promise<void> {
  await gateway.close() // ends event streams, which never end by themselves
  await new Promise((resolve) => server.close(resolve))
  await broker.close() // waits for running handlers
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stop())
