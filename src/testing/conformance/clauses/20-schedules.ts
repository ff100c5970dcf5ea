/** Clause 20, schedules: each time publishes one event, whatever dies and however many processes run the schedule. */
import assert from 'node:assert/strict'
import type { Broker } from '../../../broker/broker.ts'
import { type Channel, stream } from '../../../channel/channel.ts'
import { attribute, type StoredEvent } from '../../../event/cloud-event.ts'
import { holds, Note, orderStream, Placed, placed, readAll, refused } from '../fixtures.ts'
import { clause, type Scenario } from '../scenario.ts'
import { sleep, type World } from '../world.ts'

const SECOND = 1000

/** Wait until the channel has at least this many events, then a little longer, in case there are more. */
async function published(world: World, broker: Broker, channel: Channel, count: number): Promise<StoredEvent[]> {
  await world.eventually(async () => {
    const { length } = await readAll(broker, channel)
    holds(length >= count, `"${channel.name}" holds ${length} of ${count} events`)
  })
  await world.quiet()
  return readAll(broker, channel)
}

/** The times, in seconds, of the events of a schedule. Fails if an id is not made of its time. */
function secondsOf(name: string, events: readonly StoredEvent[]): number[] {
  return events.map((each) => {
    const time = String(attribute(each, 'scheduledtime'))
    assert.deepEqual([each.id, attribute(each, 'schedule')], [`${name}/${time}`, name])
    return Date.parse(time) / SECOND
  })
}

/** Fails if a second is missing or there twice. */
function areConsecutive(seconds: readonly number[]): void {
  const [first = 0] = seconds
  assert.deepEqual(
    seconds,
    seconds.map((_, index) => first + index),
  )
}

const changes: readonly Scenario[] = clause(20, {
  'a-paused-schedule-publishes-nothing-until-it-is-resumed': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('tick')
    await broker.schedule(name, { every: '1s' }, orders, () => placed('a', 0))
    await published(world, broker, orders, 1)
    const { paused, next } = await broker.schedules.pause(name, { reason: 'audit' })
    const pausedMs = Date.now()
    assert.deepEqual([paused?.reason, next], ['audit', null])
    await sleep(1.2 * SECOND)
    const resumingMs = Date.now()
    const resumed = await broker.schedules.resume(name)
    holds(resumed.next !== null && resumed.next.getTime() > resumingMs, 'it goes on with the next time')
    await world.eventually(async () => {
      const seconds = secondsOf(name, await readAll(broker, orders))
      holds((seconds.at(-1) ?? 0) * SECOND > resumingMs)
    })
    const all = secondsOf(name, await readAll(broker, orders))
    assert.equal(new Set(all).size, all.length)
    const during = all.filter((second) => second * SECOND > pausedMs && second * SECOND <= resumingMs)
    assert.deepEqual(during, [], 'no time of the pause has published')
  },

  'a-replaced-schedule-publishes-at-its-new-times': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'), { events: [Note] })
    const name = world.name('note')
    await broker.schedule(name, { cron: '0 0 1 1 *' }, notes, Note('old'))
    const { changedAt } = await broker.schedule(name, { every: '1s' }, notes, Note('new'))
    const again = await broker.schedule(name, { every: '1s' }, notes, Note('new'))
    assert.deepEqual(again.changedAt, changedAt, 'a schedule that is as given is not changed')
    const events = await published(world, broker, notes, 2)
    assert.deepEqual([...new Set(events.map(({ data }) => data))], ['new'])
    areConsecutive(secondsOf(name, events))
  },

  'a-removed-schedule-publishes-nothing': async (world) => {
    const broker = await world.connect()
    const [lost, kept] = [stream(world.name('lost')), stream(world.name('kept'))]
    await broker.schedule(world.name('removed'), { every: '1s' }, lost, { type: 'note' })
    await broker.schedule(world.name('kept'), { every: '1s' }, kept, { type: 'note' })
    await broker.schedules.remove(world.name('removed'))
    const removedMs = Date.now()
    await published(world, broker, kept, (await readAll(broker, kept)).length + 2)
    const late = secondsOf(world.name('removed'), await readAll(broker, lost)).filter(
      (each) => each * SECOND > removedMs,
    )
    assert.deepEqual(late, [])
    await refused(() => broker.schedules.get(world.name('removed')), 'UNKNOWN_SCHEDULE', world.name('removed'))
    await refused(() => broker.schedules.remove(world.name('removed')), 'UNKNOWN_SCHEDULE')
  },

  'run-publishes-one-more-event': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'), { events: [Note] })
    const name = world.name('yearly')
    const { next } = await broker.schedule(name, { cron: '0 0 1 1 *' }, notes, ({ manual }) => Note(manual))
    const { id } = await broker.schedules.run(name)
    const events = await published(world, broker, notes, 1)
    assert.deepEqual(
      events.map((each) => [each.id, each.data]),
      [[id, true]],
    )
    assert.deepEqual((await broker.schedules.get(name)).next, next, 'its times stay as they are')
  },

  'schedules-are-listed-with-their-next-and-last-time': async (world) => {
    const broker = await world.connect()
    const notes = stream(world.name('notes'), { events: [Note] })
    const [late, often] = [world.name('a-late'), world.name('b-often')]
    await broker.schedule(late, { cron: '30 6 * * 1-5', timeZone: 'Europe/Berlin' }, notes, Note(1))
    await broker.schedule(often, { every: '1s' }, notes, Note(2))
    const [first] = secondsOf(often, await published(world, broker, notes, 1))
    await world.eventually(async () => holds((await broker.schedules.get(often)).last))
    const found = (await broker.schedules.list()).filter(({ name }) => name === late || name === often)
    assert.deepEqual(
      found.map(({ name, channel, type, when, last }) => [name, channel, type, when, last === null]),
      [
        [late, notes.name, 'note', { cron: '30 6 * * 1-5', timeZone: 'Europe/Berlin' }, true],
        [often, notes.name, 'note', { every: SECOND }, false],
      ],
    )
    for (const { next } of found) holds(next !== null && next.getTime() / SECOND > (first as number))
  },
})

const times: readonly Scenario[] = clause(20, {
  'each-time-publishes-one-event': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('tick')
    let n = 0
    const { next } = await broker.schedule(name, { cron: '* * * * * *' }, orders, () => placed('a', n++))
    const seconds = secondsOf(name, await published(world, broker, orders, 3))
    assert.equal(seconds[0], (next?.getTime() ?? 0) / SECOND)
    areConsecutive(seconds)
  },

  'many-workers-publish-each-time-once': [
    ['reopen'],
    async (world) => {
      const broker = await world.connect()
      const engineers = [broker, await world.connect(), await world.connect()]
      const orders = orderStream(world.name('orders'))
      const name = world.name('tick')
      await Promise.all(
        engineers.map((each) => each.schedule(name, { every: '1s' }, orders, Placed({ order: 'a', n: 1 }))),
      )
      areConsecutive(secondsOf(name, await published(world, broker, orders, 3)))
    },
  ],

  'a-schedule-with-data-runs-wherever-schedules-run': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    await broker.declare(orders)
    const name = world.name('tick')
    const event = { type: 'order.placed', data: { order: 'a', n: 7 } }
    await broker.schedules.put(name, { every: '1s' }, orders.name, event)
    const running = await broker.schedules.start()
    const events = await published(world, broker, orders, 2)
    areConsecutive(secondsOf(name, events))
    for (const { data } of events) assert.deepEqual(data, { order: 'a', n: 7 })
    await running.stop()
  },

  'a-schedule-survives-a-restart': [
    ['reopen'],
    async (world) => {
      const first = await world.connect()
      const orders = orderStream(world.name('orders'))
      const name = world.name('tick')
      await first.schedule(name, { every: '1s' }, orders, placed('a', 1))
      await published(world, first, orders, 1)
      const broker = await world.reopen(first)
      const before = (await readAll(broker, orders)).length
      await sleep(1.2 * SECOND)
      assert.equal((await readAll(broker, orders)).length, before, 'nothing runs it yet')
      await broker.schedules.start()
      areConsecutive(secondsOf(name, await published(world, broker, orders, before + 2)))
    },
  ],

  'no-time-is-lost-or-repeated-over-crashes': [
    ['crash'],
    async (world) => {
      const orders = orderStream(world.name('orders'))
      const name = world.name('tick')
      const first = await world.connect()
      await first.schedule(name, { every: '1s' }, orders, placed('a', 1))
      await published(world, first, orders, 1)
      const second = await world.crash()
      await second.schedules.start()
      await published(world, second, orders, 2)
      const third = await world.crash()
      await third.schedules.start()
      areConsecutive(secondsOf(name, await published(world, third, orders, 4)))
    },
  ],

  'an-event-that-cannot-be-made-does-not-stop-the-schedule': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('tick')
    let failed = 0
    await broker.schedule(name, { every: '1s' }, orders, ({ time }) => {
      if (failed === 0 || failed === time.getTime()) {
        failed = time.getTime()
        throw new Error('not this one')
      }
      return placed('a', 1)
    })
    const seconds = secondsOf(name, await published(world, broker, orders, 2))
    holds(!seconds.includes(failed / SECOND))
    areConsecutive(seconds)
  },

  'wrong-schedules-are-refused': async (world) => {
    const broker = await world.connect()
    const orders = orderStream(world.name('orders'))
    const name = world.name('wrong')
    const put = (when: object, event: unknown = placed('a', 1)): Promise<unknown> =>
      broker.schedules.put(name, when, orders, event as never)
    await refused(() => put({}), 'INVALID_OPTION', 'cron, every and at')
    await refused(() => put({ cron: '* * * * *', every: '1m' }), 'INVALID_OPTION', 'cron and every')
    await refused(() => put({ cron: '61 * * * *' }), 'INVALID_OPTION', 'cron', '61')
    await refused(() => put({ cron: '0 0 30 2 *' }), 'INVALID_OPTION', 'never')
    await refused(() => put({ cron: '@daily', timeZone: 'Europe/Nowhere' }), 'INVALID_OPTION', 'timeZone')
    await refused(() => put({ every: '1m', timeZone: 'UTC' }), 'INVALID_OPTION', 'timeZone', 'no effect')
    await refused(() => put({ every: '10ms' }), 'INVALID_OPTION', 'every')
    await refused(() => put({ at: 1 }), 'INVALID_OPTION', 'never')
    await refused(() => put({ every: '1m', missed: 'none' }), 'INVALID_OPTION', 'missed')
    await refused(() => put({ every: '1m', each: 1 }), 'INVALID_OPTION', 'each')
    await refused(() => put({ every: '1m' }, { type: 'order.lost' }), 'TYPE_NOT_CARRIED')
    await refused(() => put({ every: '1m' }, Placed({ order: 'a', n: -1 })), 'SCHEMA_MISMATCH')
    await refused(() => broker.schedules.put('a name', { every: '1m' }, orders, placed('a', 1)), 'INVALID_NAME')
    await refused(
      () => broker.schedules.put(name, { every: '1m' }, world.name('none'), { type: 'note' }),
      'UNKNOWN_CHANNEL',
    )
    await refused(() => broker.schedules.get(name), 'UNKNOWN_SCHEDULE')
  },
})

export const schedules: readonly Scenario[] = [...times, ...changes]
