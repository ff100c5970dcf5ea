/** Schedules under virtual time: outages, changes while they run, functions that fail. */
import { afterEach, expect, test } from 'vitest'
import { z } from 'zod'
import { attribute, type CloudEvent, event, queue, stream } from '../../src/index.ts'
import { type TestBroker, testBroker } from '../../src/testing/test-broker.ts'

const Due = event('report.due')
const reports = stream('reports', { events: [Due] })
let broker: TestBroker
afterEach(() => broker.close())

async function times(): Promise<string[]> {
  return (await broker.published(reports)).map((each) =>
    String(attribute(each as CloudEvent, 'scheduledtime')).slice(0, 16),
  )
}

test('a daily report at seven in Berlin, over the jump of the clock', async () => {
  broker = testBroker({ start: new Date('2026-03-27T12:00:00Z') })
  await broker.schedule('daily', { cron: '0 7 * * *', timeZone: 'Europe/Berlin' }, reports, ({ time }) =>
    Due({ at: time.toISOString() }),
  )
  await broker.advance('3d')
  const events = await broker.published(reports)
  expect(events.map(({ id, time, data }) => [id, time, data])).toEqual(
    ['2026-03-28T06:00:00.000Z', '2026-03-29T05:00:00.000Z', '2026-03-30T05:00:00.000Z'].map((at) => [
      `daily/${at}`,
      at,
      { at },
    ]),
  )
  // A scheduled event begins a chain of its own.
  expect(events[0]).not.toHaveProperty('causationid')
})

test.each([
  ['one', ['2026-01-01T05:00', '2026-01-01T06:00']],
  [
    'all',
    [
      '2026-01-01T01:00',
      '2026-01-01T02:00',
      '2026-01-01T03:00',
      '2026-01-01T04:00',
      '2026-01-01T05:00',
      '2026-01-01T06:00',
    ],
  ],
  ['skip', ['2026-01-01T06:00']],
] as const)('after an outage, missed: %s', async (missed, expected) => {
  broker = testBroker()
  const running = await broker.schedules.start()
  await broker.declare(reports)
  await broker.schedules.put('hourly', { every: '1h', missed }, reports, Due(1))
  await broker.settled()
  await running.stop()
  await broker.advance('5h')
  await broker.advance('20m')
  expect(await times()).toEqual([])
  await broker.schedules.start()
  await broker.advance('1h')
  expect(await times()).toEqual(expected)
})

test('a short outage loses no time, whatever the policy is', async () => {
  broker = testBroker()
  const running = await broker.schedules.start()
  await broker.declare(reports)
  await broker.schedules.put('often', { every: '10s', missed: 'skip' }, reports, Due(1))
  await broker.settled()
  await running.stop()
  await broker.advance('55s')
  await broker.schedules.start()
  await broker.settled()
  expect(await times()).toHaveLength(5)
})

test('pause, resume, replace and remove', async () => {
  broker = testBroker()
  await broker.schedule('hourly', { every: '1h' }, reports, Due(1))
  await broker.advance('2h')
  expect(await broker.schedules.pause('hourly', { reason: 'audit' })).toMatchObject({
    next: null,
    paused: { reason: 'audit' },
  })
  await broker.advance('3h')
  expect((await broker.schedules.resume('hourly')).next).toEqual(new Date('2026-01-01T06:00:00Z'))
  await broker.advance('1h')
  expect(await times()).toEqual(['2026-01-01T01:00', '2026-01-01T02:00', '2026-01-01T06:00'])
  await broker.schedule('hourly', { every: '1h', offset: '30m' }, reports, Due(2))
  await broker.advance('1h')
  await broker.schedules.remove('hourly')
  await broker.advance('1d')
  expect((await times()).slice(3)).toEqual(['2026-01-01T06:30'])
  expect(await broker.schedules.list()).toEqual([])
})

test('a change of the event alone keeps the times: what was missed before the change still counts', async () => {
  broker = testBroker()
  const running = await broker.schedules.start()
  await broker.declare(reports)
  await broker.schedules.put('hourly', { every: '1h' }, reports, Due(1))
  await broker.settled()
  await running.stop()
  await broker.advance('90m')
  await broker.schedule('hourly', { every: '1h' }, reports, Due(2))
  await broker.advance('1m')
  expect((await broker.published(reports)).map(({ data }) => data)).toEqual([2])
  expect(await times()).toEqual(['2026-01-01T01:00'])
})

test('an event that cannot be made is tried again, and the schedule goes on meanwhile', async () => {
  broker = testBroker()
  let calls = 0
  await broker.schedule('minutely', { every: '1m' }, reports, ({ time }) => {
    calls++
    if (time.getTime() === Date.parse('2026-01-01T00:01:00Z')) throw new Error('no figures yet')
    return Due(1)
  })
  await broker.advance('5m')
  expect(await times()).toEqual(['2026-01-01T00:02', '2026-01-01T00:03', '2026-01-01T00:04', '2026-01-01T00:05'])
  await broker.advance('1h')
  expect(calls).toBe(64 + 1 + 8)
  const [letter] = await broker.deadLetters('$schedules.code.minutely').list()
  expect(letter?.failure.message).toBe('no figures yet')
})

test('jitter is the same in every process, and the id does not depend on it', async () => {
  broker = testBroker()
  await broker.schedule('jittery', { every: '1h', jitter: '10m' }, reports, Due(1))
  await broker.advance('3h')
  await broker.advance('10m')
  const events = await broker.published(reports)
  expect(events.map(({ id }) => id)).toEqual([1, 2, 3].map((hour) => `jittery/2026-01-01T0${hour}:00:00.000Z`))
  expect(new Set(events.map(({ time }) => time?.slice(14))).size).toBe(3)
})

test('until ends a schedule, and a one-off comes once', async () => {
  broker = testBroker()
  await broker.schedule('short', { every: '1h', until: '2026-01-01T02:00:00Z' }, reports, Due(1))
  await broker.schedule('once', { at: '2026-01-01T02:30:00Z' }, reports, Due(2))
  await broker.advance('1d')
  expect(await times()).toEqual(['2026-01-01T01:00', '2026-01-01T02:00', '2026-01-01T02:30'])
  expect((await broker.schedules.list()).map(({ name, next }) => [name, next])).toEqual([
    ['once', null],
    ['short', null],
  ])
})

test('a time years ahead is reached by steps', async () => {
  broker = testBroker()
  await broker.schedule('far', { at: '2040-01-01T00:00:00Z' }, reports, Due(1))
  await broker.advance('5100d')
  expect(await times()).toEqual([])
  await broker.advance('30d')
  expect(await times()).toEqual(['2040-01-01T00:00'])
})

test('a queue takes scheduled events, too, and the key of a function is stored with the event', async () => {
  broker = testBroker()
  const Work = event('work', z.object({ to: z.string() }))
  const work = queue('work', { events: [Work], key: (each) => each.data.to })
  await broker.schedule('work', { every: '1h' }, work, Work({ to: 'ann' }))
  await broker.advance('1h')
  expect((await broker.published(work)).map(({ partitionkey }) => partitionkey)).toEqual(['ann'])
})
