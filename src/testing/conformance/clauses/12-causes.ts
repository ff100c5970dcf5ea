/** Clause 12, causes: an emission says what caused it, and the causal tree of an event is found from that. */
import assert from 'node:assert/strict'
import { stream } from '../../../channel/channel.ts'
import { consumer } from '../../../consumer/consumer.ts'
import type { StoredEvent } from '../../../event/cloud-event.ts'
import { idle, type Order, orderStream, Placed, placed, readAll, unkeyedStream } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const TRACEPARENT = `00-${TRACE}-b7ad6b7169203331-01`

export const causes: readonly Scenario[] = clause(12, {
  'an-emission-says-what-caused-it': async (world) => {
    const broker = await world.connect()
    const [orders, out] = [orderStream(world.name('orders')), unkeyedStream(world.name('out'))]
    const own = { causationid: 'own', correlationid: 'own', traceparent: `00-${TRACE}-00f067aa0ba902b7-00` }
    await broker.start(
      consumer(world.name('worker'), orders).on(Placed, async (each, ctx) =>
        ctx.emit(out, placed('out', each.data.n, each.data.n === 2 ? own : {})),
      ),
    )
    await broker.publish(orders, [
      placed('a', 0, { id: 'cause' }),
      placed('b', 1, { id: 'second', correlationid: 'story', traceparent: TRACEPARENT, tracestate: 'vendor=1' }),
      placed('c', 2, { id: 'third', traceparent: TRACEPARENT, tracestate: 'vendor=1' }),
    ])
    await idle(world, broker, world.name('worker'))
    await world.eventually(async () => assert.equal((await readAll(broker, out)).length, 3))
    const events = (await readAll(broker, out)).sort((a, b) => (a.data as Order).n - (b.data as Order).n)
    const [first] = events
    assert.match(first?.traceparent ?? '', /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/, 'a trace context for each chain')
    assert.deepEqual(events.map(said), [
      ['cause', 'cause', first?.traceparent, undefined],
      ['second', 'story', TRACEPARENT, 'vendor=1'],
      ['own', 'own', own.traceparent, undefined],
    ])
  },

  'what-an-event-caused-and-what-caused-it-is-found': async (world) => {
    const broker = await world.connect()
    const orders = stream(world.name('orders'))
    const bills = stream(world.name('bills'))
    const mails = stream(world.name('mails'))
    await broker.declare(orders, bills, mails)
    await broker.start(
      consumer(world.name('bill'), orders).onAny(async (each, ctx) => ctx.emit(bills, { type: 'bill', data: each.id })),
    )
    await broker.start(consumer(world.name('mail'), bills).onAny(async (_, ctx) => ctx.emit(mails, { type: 'mail' })))
    const [, receipt] = await broker.publish(orders, [
      { type: 'order', id: 'other' },
      { type: 'order', id: 'this' },
    ])
    await world.eventually(async () => assert.equal((await readAll(broker, mails)).length, 2))
    const effects = broker.effects(orders, receipt?.offset ?? 0, { channels: [orders, bills, mails].map(nameOf) })
    const found: string[] = []
    let mail = -1
    for await (const { event, distance, relation } of effects) {
      found.push(`${event.type} ${distance} ${relation}`)
      if (event.type === 'mail') mail = event.offset
    }
    assert.deepEqual(found, ['bill 1 effect', 'mail 2 effect'])
    assert.equal(effects.progress.complete, true)
    const causesOfMail: string[] = []
    for await (const { event, distance } of broker.causes(mails, mail, { channels: [orders, bills].map(nameOf) }))
      causesOfMail.push(`${event.type} ${distance} ${event.type === 'order' ? event.id : ''}`)
    assert.deepEqual(causesOfMail, ['bill 1 ', 'order 2 this'])
  },
})

function said({ causationid, correlationid, traceparent, tracestate }: StoredEvent): unknown[] {
  return [causationid, correlationid, traceparent, tracestate]
}

function nameOf({ name }: { readonly name: string }): string {
  return name
}
