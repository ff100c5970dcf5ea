/** Clause 6: dead letters of several channels, one page after the other, and those of certain deaths only. */
import assert from 'node:assert/strict'
import { isMillraceError } from '../../../base/errors.ts'
import { engineOf } from '../../../broker/engine-of.ts'
import { consumer } from '../../../consumer/consumer.ts'
import { describeConsumer, idle, orderStream, Placed, placedMany, QUICK } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'

export const letterPages: readonly Scenario[] = clause(6, {
  'a-redriven-letter-is-pending-until-it-is-done-also-after-a-rewind': async (world) => {
    const broker = await world.connect()
    const name = world.name('rewound')
    const orders = orderStream(world.name('orders'))
    let fails = true
    const worker = () =>
      consumer(name, orders, { retry: { ...QUICK, attempts: 1 } }).on(Placed, (_, ctx) => {
        if (fails) ctx.reject('no')
      })
    const running = await broker.start(worker())
    await broker.publish(orders, placedMany(4, 2))
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 2))
    const letters = await broker.deadLetters(name).list()
    await running.stop()
    const pending = async (): Promise<number> =>
      (
        await engineOf(broker).consumers.pending(
          name,
          letters.map(({ channel, offset }) => ({ channel, offset })),
        )
      ).length
    assert.equal(await pending(), 0, 'they are dead')
    await broker.deadLetters(name).redrive()
    assert.equal(await pending(), 2)
    await broker.consumer(name).rewind('beginning')
    assert.equal(await pending(), 2, 'they come from the log again')
    fails = false
    await broker.start(worker())
    await world.eventually(async () => assert.equal(await pending(), 0))
  },

  'letters-are-listed-in-pages-and-redriven-by-their-deaths': async (world) => {
    const broker = await world.connect()
    const name = world.name('pages')
    const channels = [orderStream(world.name('pages-a')), orderStream(world.name('pages-b'))]
    const worker = consumer(name, channels, { retry: QUICK, onDead: 'skip' }).on(Placed, (_, ctx) => ctx.reject('no'))
    await broker.start(worker)
    for (const channel of channels) await broker.publish(channel, placedMany(5, 3))
    const letters = broker.deadLetters(name)
    const all = await world.eventually(async () => {
      const found = await letters.list()
      assert.equal(found.length, 10)
      return found
    })
    const placeOf = ({ channel, offset }: { channel: string; offset: number }): string => `${channel}/${offset}`
    const inPages: string[] = []
    for (let after: { channel: string; offset: number } | null = null; ; ) {
      const page: typeof all = await letters.list({ after, limit: 3 })
      const last = page.at(-1)
      if (last === undefined) break
      after = { channel: last.channel, offset: last.offset }
      inPages.push(...page.map(placeOf))
    }
    const sorted = [...all].sort((a, b) =>
      a.channel === b.channel ? a.offset - b.offset : a.channel < b.channel ? -1 : 1,
    )
    assert.deepEqual(inPages, sorted.map(placeOf))
    const [first, second, third] = all
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    assert.deepEqual(
      (await letters.list({ places: [third, first] })).map(placeOf).sort(),
      [first, third].map(placeOf).sort(),
    )
    // Another death than the one that is named: nothing is redriven.
    assert.equal(await letters.redrive({ places: [{ ...first, deadAtMs: first.deadAtMs - 1 }] }), 0)
    const deaths = [first, second].map(({ channel, offset, deadAtMs }) => ({ channel, offset, deadAtMs }))
    assert.equal(await letters.redrive({ places: deaths }), 2)
    await idle(world, broker, name)
    await world.eventually(async () => assert.equal((await describeConsumer(broker, name)).deadLetters, 10))
    // They died again: that is another death.
    assert.equal(await letters.redrive({ places: deaths }), 0)
    assert.equal(await letters.drop({ places: [first, third].map(({ channel, offset }) => ({ channel, offset })) }), 2)
    assert.equal((await letters.list()).length, 8)
    await assert.rejects(letters.redrive({ places: [undefined as never] }), (error) =>
      isMillraceError(error, 'INVALID_OPTION'),
    )
  },
})
