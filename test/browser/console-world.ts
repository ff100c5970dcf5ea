/**
 * A small company on one broker, for the tests of the console: sources, channels, consumers that emit, fail and lag,
 * and a rule.
 */
import { type Broker, connect, consumer, queue, type Running, stream } from '../../src/index.ts'
import { rulesOf, startRules } from '../../src/rules/index.ts'
import type { RunningRules } from '../../src/rules/start-rules.ts'

const orders = stream('orders')
const payments = stream('payments')
const parcels = queue('parcels')
const mail = stream('mail')
const alerts = stream('alerts')

export interface World {
  readonly broker: Broker
  /** Publish a few orders, as the shop and its partner do. */
  publish(count: number): Promise<void>
  /** Whether the mail provider refuses; it does at first. */
  mailFails: boolean
  close(): Promise<void>
}

export async function openWorld(url = 'memory:'): Promise<World> {
  const broker = await connect(url)
  await broker.declare(orders, payments, parcels, mail, alerts)
  const world = { broker, mailFails: true, publish, close }
  const running: Running[] = [
    await broker.start(
      consumer('billing', orders).onAny(async (event, ctx) => {
        const key = String(event.subject)
        await ctx.emit(payments, { type: 'payment.taken', data: { order: key, amount: 12 }, partitionkey: key })
      }),
    ),
    await broker.start(
      consumer('warehouse', payments).onAny(async (_, ctx) => {
        await ctx.emit(parcels, { type: 'parcel.packed', data: { boxes: 1 } })
        await ctx.emit(mail, { type: 'mail.requested', data: { to: 'ada@example.com' } })
      }),
    ),
    await broker.start(consumer('courier', parcels).onAny(async () => undefined)),
    await broker.start(
      consumer('mailer', mail, { retry: { attempts: 1 } }).onAny(async () => {
        if (world.mailFails) throw new TypeError('the provider is down')
      }),
    ),
  ]
  const rules: RunningRules = await startRules(broker)
  await rulesOf(broker).put({
    name: 'large-orders',
    on: 'orders',
    when: 'partner = "acme"',
    then: { forward: 'alerts' },
  })
  let sent = 0

  async function publish(count: number): Promise<void> {
    for (let each = 0; each < count; each++) {
      sent++
      const partner = sent % 3 === 0
      await broker.publish(orders, {
        type: 'order.placed',
        subject: `o-${sent}`,
        source: partner ? 'https://acme.example/orders' : '/shop/checkout',
        data: { number: sent, total: sent * 3 },
        ...(partner && { partner: 'acme' }),
      })
    }
  }

  async function close(): Promise<void> {
    await rules.stop()
    await Promise.all(running.map((one) => one.stop()))
    await broker.close()
  }
  return world
}
