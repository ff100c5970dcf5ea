/** The broker, the gateway and the client for the whole application, closed in order when it stops. */
import { type BeforeApplicationShutdown, Global, Inject, Module, type OnApplicationShutdown } from '@nestjs/common'
import { type Broker, connect } from 'millrace'
import { createGateway, type Gateway } from 'millrace/gateway'
import { mails, orders } from '../orders.ts'
import { MillraceClient } from './millrace-client.ts'

export const BROKER = Symbol('BROKER')
export const GATEWAY = Symbol('GATEWAY')

async function openGateway(broker: Broker): Promise<Gateway> {
  const gateway = createGateway(broker, { console: true })
  await gateway.started
  return gateway
}

@Global()
@Module({
  providers: [
    { provide: BROKER, useFactory: () => connect(process.env['BROKER_URL'] ?? 'file:./data') },
    { provide: GATEWAY, inject: [BROKER], useFactory: openGateway },
    {
      provide: MillraceClient,
      inject: [BROKER],
      useFactory: (broker: Broker) => new MillraceClient(broker, [orders, mails]),
    },
  ],
  exports: [BROKER, GATEWAY, MillraceClient],
})
export class BrokerModule implements BeforeApplicationShutdown, OnApplicationShutdown {
  readonly #broker: Broker
  readonly #gateway: Gateway

  constructor(@Inject(BROKER) broker: Broker, @Inject(GATEWAY) gateway: Gateway) {
    this.#broker = broker
    this.#gateway = gateway
  }

  /** Before NestJS closes its server: event streams never end by themselves. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.#gateway.close()
  }

  /** After NestJS has closed the transport, which waits for running handlers. */
  async onApplicationShutdown(): Promise<void> {
    await this.#broker.close()
  }
}
