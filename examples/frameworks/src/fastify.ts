/** Millrace in a Fastify application: it publishes, handles, and mounts the gateway with the console at /events. */
import fastify, { type FastifyInstance } from 'fastify'
import { connect, isMillraceError } from 'millrace'
import { createGateway } from 'millrace/gateway'
import { mailer, OrderPlaced, orders } from './orders.ts'

const broker = await connect(process.env['BROKER_URL'] ?? 'file:./data')
const gateway = createGateway(broker, { console: true })
await gateway.started
await broker.start(mailer)

const app = fastify()

app.register(
  async (events: FastifyInstance) => {
    // The gateway reads bodies itself.
    events.removeAllContentTypeParsers()
    events.addContentTypeParser('*', (_request, _payload, done) => done(null))
    events.all('/*', (request, reply) => {
      reply.hijack()
      request.raw.url = request.url.slice('/events'.length)
      gateway.listener(request.raw, reply.raw)
    })
  },
  { prefix: '/events' },
)
// WebSocket clients of the gateway: connect('ws://…/events/ws').
app.server.on('upgrade', (incoming, socket, head) => {
  if (incoming.url?.startsWith('/events/') !== true) {
    socket.destroy()
    return
  }
  incoming.url = incoming.url.slice('/events'.length)
  gateway.upgrade(incoming, socket, head)
})

app.post<{ Body: { order: string; email: string; cents: number } }>('/orders', async ({ body }, reply) => {
  // The order's number is the event's id: a client that sends the order again does not order twice.
  const receipt = await broker.publish(orders, OrderPlaced(body, { id: body.order }))
  return reply.code(202).send(receipt)
})
app.setErrorHandler((error, _request, reply) => {
  if (isMillraceError(error, 'SCHEMA_MISMATCH')) return reply.code(422).send({ error: error.message })
  return reply.send(error)
})

app.addHook('preClose', () => gateway.close()) // ends event streams, which never end by themselves
app.addHook('onClose', () => broker.close()) // waits for running handlers
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void app.close())

await app.listen({ port: Number(process.env['PORT'] ?? 3000), host: '127.0.0.1' })
console.log(`listening on port ${(app.server.address() as { port: number }).port}`)
