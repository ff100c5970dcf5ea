/** Clause 19: anyone may read state as a table, and nobody else writes it. */
import assert from 'node:assert/strict'
import { isMillraceError } from '../../../base/errors.ts'
import { consumer } from '../../../consumer/consumer.ts'
import { holds, idle, orderStream, Placed, placed, placedMany, refused } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import { recording, settledTable, table } from '../state-fixtures.ts'

export const tables: readonly Scenario[] = clause(19, {
  'nobody-else-writes-state': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const of = recording(world.name('worker'), orders, () => undefined, { retry: { attempts: 1 } })
    await broker.start(of)
    await broker.publish(orders, placed('k0', 0))
    await settledTable(world, broker, of, 1, 1)
    const channel = broker.table(of).channel
    await refused(() => broker.publish(channel, { type: channel, data: { ns: [9] } }), 'FORBIDDEN', channel)
    await refused(() => broker.publish(channel, [{ type: 'any' }]), 'FORBIDDEN', channel)
    await refused(() => orderStream(channel), 'INVALID_NAME', channel)
    await refused(() => broker.channel(channel).remove(), 'FORBIDDEN', channel)
    const errors: unknown[] = []
    const other = consumer(world.name('other'), orders).on(Placed, async (_, ctx) => {
      await ctx.emit(channel, { type: channel, data: { ns: [9] } }).catch((error: unknown) => errors.push(error))
    })
    await broker.start(other)
    await world.eventually(() => assert.equal(errors.length, 1))
    holds(isMillraceError(errors[0], 'FORBIDDEN'))
    assert.deepEqual(await table(broker, of), { k0: [0] })
  },

  'a-table-is-read-by-key-by-prefix-and-followed': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const of = recording(world.name('worker'), orders, (n, ctx) => {
      if (n === 9) ctx.deleteState()
    })
    assert.equal(await broker.table(of).get('a-1'), undefined, 'a consumer that was never started has an empty table')
    await refused(() => broker.table(world.name('nothing')).get('a'), 'UNKNOWN_CHANNEL')
    await broker.start(of)
    await broker.publish(
      orders,
      ['a-1', 'a-2', 'b-1', 'a-10', 'ä'].map((key, n) => placed(key, n)),
    )
    await idle(world, broker, of.name)
    await world.eventually(async () => assert.equal(Object.keys(await table(broker, of)).length, 5))
    const found: string[] = []
    for await (const { key } of broker.table(of).entries({ prefix: 'a-' })) found.push(key)
    assert.deepEqual(found, ['a-1', 'a-10', 'a-2'])
    const later: string[] = []
    for await (const { key } of broker.table(of).entries({ after: 'a-10' })) later.push(key)
    assert.deepEqual(later, ['a-2', 'b-1', 'ä'])
    const byName = await broker.table(of.name).get('b-1')
    assert.deepEqual([byName?.key, byName?.value], ['b-1', { ns: [2] }], 'a name is enough')
    const changes: unknown[] = []
    for await (const { key, value } of broker.table(of).follow()) {
      changes.push([key, value?.ns])
      if (changes.length === 5) await broker.publish(orders, [placed('b-1', 8), placed('a-1', 9)])
      if (changes.length === 7) break
    }
    assert.deepEqual(
      changes.slice(5).sort((a, b) => String(b).localeCompare(String(a))),
      [
        ['b-1', [2, 8]],
        ['a-1', undefined],
      ],
    )
  },

  'a-stream-that-keeps-the-latest-event-is-a-table': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'), { retain: { latestByKey: true } })
    await broker.publish(orders, placedMany(10, 2))
    const entry = await broker.table(orders).get('k1')
    assert.deepEqual([entry?.value.type, entry?.value.data.n], ['order.placed', 9])
    const all: number[] = []
    for await (const { value } of broker.table(orders).entries()) all.push(value.data.n)
    assert.deepEqual(all, [8, 9])
    await refused(() => broker.table(orderStream(world.name('other'))), 'INVALID_OPTION', 'keeps all events')
  },
})
