/** Schedules that are changed while they run, or after the clock was wrong: they go on, each time publishes once. */
import { afterEach, expect, test } from 'vitest'
import type { When } from '../../src/broker/schedules.ts'
import { attribute, type CloudEvent, event, stream } from '../../src/index.ts'
import { ScheduleBook } from '../../src/schedule/schedule-book.ts'
import { changedEvent, ranEvent, type ScheduleRecord, schedulesChannel } from '../../src/schedule/schedule-events.ts'
import { type TestBroker, testBroker } from '../../src/testing/test-broker.ts'

const Due = event('report.due')
// Nothing hides a time that publishes twice.
const reports = stream('reports', { events: [Due], dedupe: false })
const hourly: When = { every: '1h' }
let broker: TestBroker
afterEach(() => broker.close())

async function times(channel = reports): Promise<string[]> {
  return (await broker.published(channel)).map((each) =>
    String(attribute(each as CloudEvent, 'scheduledtime')).slice(11, 16),
  )
}

/** The schedule as it is stored. */
async function stored(name: string): Promise<ScheduleRecord> {
  const changes = (await broker.published(schedulesChannel)).filter(({ type }) => type === 'schedule.changed')
  return changes.map(({ data }) => data as ScheduleRecord).findLast((each) => each.name === name) as ScheduleRecord
}

/** A time is stored as handled, in the chain of the schedule as it is now. */
async function handled(name: string, time: string): Promise<void> {
  const { chain } = await stored(name)
  const timeMs = Date.parse(time)
  await broker.publish(schedulesChannel, ranEvent({ name, chain, timeMs, atMs: timeMs, problem: null }) as never)
}

/** A function that waits, the first time that it is called, until `open` is called. */
function gated(): { readonly make: () => Promise<ReturnType<typeof Due>>; readonly open: () => void } {
  let open = (): void => undefined
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const make = async (): Promise<ReturnType<typeof Due>> => {
    await opened
    return Due('slow')
  }
  return { make, open }
}

test.each<When>([
  { ...hourly, jitter: 1 },
  { ...hourly, missed: 'all' },
  { ...hourly, until: '2027-01-01T00:00:00Z' },
])('a schedule that is changed to %o while its function runs goes on', async (when) => {
  broker = testBroker()
  const { make, open } = gated()
  await broker.schedule('hourly', hourly, reports, make)
  await broker.advance('1h')
  await broker.schedule('hourly', when, reports, () => Due('new'))
  await broker.advance('1m')
  open()
  await broker.advance('3h')
  expect(await times()).toEqual(['01:00', '02:00', '03:00', '04:00'])
})

test('a function becomes data while it runs', async () => {
  broker = testBroker()
  const { make, open } = gated()
  await broker.schedule('hourly', hourly, reports, make)
  await broker.advance('1h')
  const changed = broker.schedule('hourly', hourly, reports, Due('data'))
  await broker.advance('1m')
  open()
  await changed
  await broker.advance('2h')
  expect(await times()).toEqual(['01:00', '02:00', '03:00'])
})

test('a time that was handled before the change does not end the schedule', async () => {
  broker = testBroker()
  await broker.schedule('hourly', hourly, reports, Due(1))
  await broker.settled()
  await handled('hourly', '2026-01-01T01:00:00Z')
  await broker.advance('3h')
  expect(await times()).toEqual(['02:00', '03:00'])
})

test('a schedule that is paused or removed while its function runs does not publish', async () => {
  broker = testBroker()
  const [paused, removed] = [gated(), gated()]
  await broker.schedule('paused', hourly, reports, paused.make)
  await broker.schedule('removed', hourly, reports, removed.make)
  await broker.advance('1h')
  await broker.schedules.pause('paused')
  const removal = broker.schedules.remove('removed')
  await broker.advance('1m')
  paused.open()
  removed.open()
  await removal
  await broker.advance('2h')
  expect(await times()).toEqual([])
  await broker.schedules.resume('paused')
  await broker.advance('1h')
  expect(await times()).toEqual(['04:00'])
})

test.each(['resume', 'remove', 'other times'] as const)('after the clock was ahead, %s helps', async (how) => {
  broker = testBroker()
  await broker.schedule('hourly', hourly, reports, Due(1))
  await broker.settled()
  await handled('hourly', '2026-01-02T00:00:00Z')
  await broker.advance('2h')
  expect(await times()).toEqual([])
  if (how === 'resume') {
    await broker.schedules.pause('hourly')
    await broker.schedules.resume('hourly')
  } else if (how === 'remove') {
    await broker.schedules.remove('hourly')
    await broker.schedule('hourly', hourly, reports, Due(1))
  } else await broker.schedule('hourly', { every: '30m' }, reports, Due(1))
  await broker.advance('1h')
  expect((await times()).at(-1)).toBe('03:00')
  await broker.advance('1h')
  expect((await times()).at(-1)).toBe('04:00')
})

test('a time that another process handled with a clock half a minute ahead counts after a change, too', async () => {
  broker = testBroker()
  await broker.schedule('hourly', hourly, reports, Due(1))
  await broker.advance('1h')
  await broker.advance('59m')
  await broker.advance('30s')
  await handled('hourly', '2026-01-01T02:00:00Z')
  await broker.schedule('hourly', { every: '30m' }, reports, Due(1))
  await broker.advance('31m')
  expect(await times()).toEqual(['01:00', '02:30'])
})

test.each(['one', 'all'] as const)('a later until counts from now, with missed: %s', async (missed) => {
  broker = testBroker()
  const short: When = { ...hourly, missed, until: '2026-01-01T02:00:00Z' }
  await broker.schedule('short', short, reports, Due(1))
  await broker.advance('10h')
  const { next } = await broker.schedule('short', { ...short, until: '2026-01-01T11:00:00Z' }, reports, Due(1))
  expect(next).toEqual(new Date('2026-01-01T11:00:00Z'))
  await broker.advance('3h')
  expect(await times()).toEqual(['01:00', '02:00', '11:00'])
})

test('a schedule that is over is not changed to one that never publishes', async () => {
  broker = testBroker()
  const at = { at: '2026-01-01T01:00:00Z' } as const
  const until = { ...hourly, until: '2026-01-01T01:00:00Z' } as const
  await broker.schedule('once', at, reports, Due(1))
  await broker.schedule('short', until, reports, Due(1))
  await broker.advance('2h')
  await broker.schedule('once', at, reports, Due(1))
  const refusal = (option: string): object => ({ code: 'INVALID_OPTION', details: { option } })
  await expect(broker.schedule('once', at, reports, Due(2))).rejects.toMatchObject(refusal('at'))
  await expect(broker.schedule('short', until, reports, Due(2))).rejects.toMatchObject(refusal('until'))
  expect(await times()).toEqual(['01:00', '01:00'])
})

test('a schedule that another process moved is not published into the channel that it was moved from', async () => {
  broker = testBroker()
  const moved = stream('moved', { events: [Due], dedupe: false })
  await broker.declare(moved)
  await broker.schedule('hourly', hourly, reports, () => Due('old'))
  await broker.advance('1h')
  const record = { ...(await stored('hourly')), revision: 'of the new process', channel: 'moved' }
  await broker.publish(schedulesChannel, changedEvent(record) as never)
  await broker.advance('2h')
  expect([await times(), await times(moved)]).toEqual([['01:00'], []])
  expect((await broker.schedules.get('hourly')).last?.problem).toContain('"moved"')
  // Now this process runs the new code, too.
  await broker.schedule('hourly', hourly, moved, () => Due('new'))
  await broker.advance('1h')
  expect(await times()).toEqual(['01:00'])
  expect((await times(moved)).toSorted()).toEqual(['02:00', '03:00', '04:00'])
  expect(await broker.deadLetters('$schedules.code.hourly').list()).toEqual([])
})

test('the schedules are read again after their channel was removed and made again', async () => {
  broker = testBroker()
  await broker.declare(reports)
  const book = new ScheduleBook(broker)
  await broker.schedules.put('a', hourly, reports, Due(1))
  await broker.schedules.put('b', hourly, reports, Due(1))
  await book.refresh()
  await broker.channel(schedulesChannel).remove()
  await broker.declare(schedulesChannel)
  await broker.schedules.put('c', hourly, reports, Due(1))
  await book.refresh()
  expect(book.all().map(({ name }) => name)).toEqual(['c'])
  await broker.channel(schedulesChannel).remove()
  await book.refresh()
  expect(book.all()).toEqual([])
})
