/**
 * A gateway with one webhook endpoint, `/webhooks/in`, over a test broker whose clock shows the time of the delivery.
 */
import { afterEach } from 'vitest'
import { createGateway, type Gateway, type GatewayOptions, type WebhookOptions } from '../../src/gateway/index.ts'
import type { StoredEvent } from '../../src/index.ts'
import { type TestBroker, testBroker } from '../../src/testing/index.ts'
import { json, NOW, type Scheme, SIGNED, VECTORS } from './webhook-vectors.ts'

export interface WebhookAnswer {
  readonly status: number
  readonly body: {
    readonly code?: string
    readonly detail?: string
    readonly challenge?: string
    readonly receipts?: readonly { readonly id: string; readonly duplicate: boolean }[]
  }
}

export class WebhookWorld {
  broker!: TestBroker
  gateway!: Gateway

  open(scheme: Scheme, options: Partial<WebhookOptions> = {}, atSeconds = NOW, more: GatewayOptions = {}): void {
    this.broker = testBroker({ start: new Date(atSeconds * 1000) })
    this.gateway = createGateway(this.broker, {
      webhooks: { in: { scheme, secret: VECTORS[scheme].secret, channel: 'hooks', ...options } },
      ...more,
    })
  }

  async send(headers: Record<string, string>, body: string, path = '/webhooks/in'): Promise<WebhookAnswer> {
    const answer = await this.gateway.fetch(new Request(`http://localhost${path}`, { method: 'POST', headers, body }))
    const text = await answer.text()
    return { status: answer.status, body: (text === '' ? {} : JSON.parse(text)) as WebhookAnswer['body'] }
  }

  /** Signs and sends a body. */
  deliver(
    scheme: Scheme,
    body: string,
    headers: Record<string, string> = {},
    secret = VECTORS[scheme].secret,
    seconds = NOW,
  ): Promise<WebhookAnswer> {
    return this.send({ ...json, ...SIGNED[scheme](secret, body, seconds), ...headers }, body)
  }

  stored(): Promise<StoredEvent[]> {
    return this.broker.published('hooks')
  }

  async close(): Promise<void> {
    await this.gateway.close()
    await this.broker.close()
  }
}

/** A world for the tests of a file. It is closed after each of them. */
export function webhookWorld(): WebhookWorld {
  const world = new WebhookWorld()
  afterEach(() => world.close())
  return world
}
