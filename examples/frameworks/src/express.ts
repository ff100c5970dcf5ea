/** Millrace in an Express application: it publishes, handles, and mounts the gateway with the console at /events. */
import express, { type NextFunction, type Request, type Response } from 'express'
import { connect, isMillraceError } from 'millrace'
import { createGateway } from 'millrace/gateway'
import { mailer, OrderPlaced, orders } from './orders.ts'

const broker = await connect(process.env['BROKER_URL'] ?? 'file:./data')
const gateway = createGateway(broker, { console: true })
await gateway.started
await broker.start(mailer)

const app = express()
// Before express.json(), because the gateway reads bodies itself.
app.use('/events', gateway.listener)
app.use(express.json())

app.post('/orders', async (request, response) => {
  // The order's number is the event's id: a client that sends the order again does not order twice.
  const receipt = await broker.publish(orders, OrderPlaced(request.body, { id: request.body.order }))
  response.status(202).json(receipt)
})

app.use((error: unknown, _request: Request, response: Response, next: NextFunction) => {
  if (isMillraceError(error, 'SCHEMA_MISMATCH')) response.status(422).json({ error: error.message })
  else next(error)
})

const server = app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  console.log(`listening on port ${(server.address() as { port: number }).port}`)
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
