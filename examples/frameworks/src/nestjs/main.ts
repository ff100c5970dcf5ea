/** Millrace in a NestJS application: a transport for events, and the gateway with the console at /events. */
import 'reflect-metadata'
import type { Server } from 'node:http'
import { Module } from '@nestjs/common'
import { NestFactory } from '@nestjs/core'
import type { Broker } from 'millrace'
import type { Gateway } from 'millrace/gateway'
import { orders } from '../orders.ts'
import { BROKER, BrokerModule, GATEWAY } from './broker.module.ts'
import { MailController } from './mail.controller.ts'
import { MillraceServer } from './millrace-server.ts'
import { OrdersController } from './orders.controller.ts'

@Module({ imports: [BrokerModule], controllers: [OrdersController, MailController] })
class AppModule {}

const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] })
app.enableShutdownHooks()

const broker = app.get<Broker>(BROKER)
const strategy = new MillraceServer({ broker, consumer: 'mailer', channels: [orders], options: { concurrency: 16 } })
app.connectMicroservice({ strategy })
await app.startAllMicroservices()

const gateway = app.get<Gateway>(GATEWAY)
// Before listen(), which adds body parsers: the gateway reads bodies itself.
app.use('/events', gateway.listener)
await app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1')

const server = app.getHttpServer() as Server
// WebSocket clients of the gateway: connect('ws://…/events/ws').
server.on('upgrade', (incoming, socket, head) => {
  if (incoming.url?.startsWith('/events/') !== true) {
    socket.destroy()
    return
  }
  incoming.url = incoming.url.slice('/events'.length)
  gateway.upgrade(incoming, socket, head)
})
console.log(`listening on port ${(server.address() as { port: number }).port}`)
