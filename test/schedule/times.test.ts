/** The times of schedules: DST tables, and random schedules compared with a plain model. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { When } from '../../src/broker/schedules.ts'
import { dueOf, lastTimeUpTo, timeAfter, turnAt } from '../../src/schedule/times.ts'
import { timingOf } from '../../src/schedule/timing.ts'

const MINUTE = 60_000
const HOUR = 60 * MINUTE

function iso(ms: number): string {
  return new Date(ms).toISOString()
}

function timesOf(when: When, from: string, to: string): string[] {
  const timing = timingOf(when, 'test')
  const found: string[] = []
  for (let at = timeAfter(timing, Date.parse(from) - 1); at !== null && at < Date.parse(to); at = timeAfter(timing, at))
    found.push(new Date(at).toISOString().replace(':00.000Z', 'Z'))
  return found
}

interface Row {
  readonly cron: string
  readonly timeZone: string
  readonly from: string
  readonly to: string
  readonly vixie: readonly string[]
  readonly skip: readonly string[]
}

const SPRING_BERLIN = { timeZone: 'Europe/Berlin', from: '2026-03-28T12:00:00Z', to: '2026-03-30T12:00:00Z' }
const AUTUMN_BERLIN = { timeZone: 'Europe/Berlin', from: '2026-10-24T12:00:00Z', to: '2026-10-26T12:00:00Z' }
const SPRING_NEW_YORK = { timeZone: 'America/New_York', from: '2026-03-07T12:00:00Z', to: '2026-03-09T12:00:00Z' }
const AUTUMN_NEW_YORK = { timeZone: 'America/New_York', from: '2026-10-31T12:00:00Z', to: '2026-11-02T12:00:00Z' }
// The clock jumps by half an hour: from 02:00 to 02:30 on 4 October, from 02:00 to 01:30 on 5 April.
const SPRING_LORD_HOWE = { timeZone: 'Australia/Lord_Howe', from: '2026-10-03T00:00:00Z', to: '2026-10-05T00:00:00Z' }
const AUTUMN_LORD_HOWE = { timeZone: 'Australia/Lord_Howe', from: '2026-04-04T00:00:00Z', to: '2026-04-06T00:00:00Z' }

const TABLE: readonly Row[] = [
  {
    cron: '30 2 * * *',
    ...SPRING_BERLIN,
    vixie: ['2026-03-29T01:00Z', '2026-03-30T00:30Z'],
    skip: ['2026-03-30T00:30Z'],
  },
  {
    cron: '30 2 * * *',
    ...AUTUMN_BERLIN,
    vixie: ['2026-10-25T00:30Z', '2026-10-26T01:30Z'],
    skip: ['2026-10-25T00:30Z', '2026-10-26T01:30Z'],
  },
  {
    cron: '30 2 * * *',
    ...SPRING_NEW_YORK,
    vixie: ['2026-03-08T07:00Z', '2026-03-09T06:30Z'],
    skip: ['2026-03-09T06:30Z'],
  },
  {
    cron: '30 1 * * *',
    ...AUTUMN_NEW_YORK,
    vixie: ['2026-11-01T05:30Z', '2026-11-02T06:30Z'],
    skip: ['2026-11-01T05:30Z', '2026-11-02T06:30Z'],
  },
  {
    cron: '15 2 * * *',
    ...SPRING_LORD_HOWE,
    vixie: ['2026-10-03T15:30Z', '2026-10-04T15:15Z'],
    skip: ['2026-10-04T15:15Z'],
  },
  {
    cron: '45 1 * * *',
    ...AUTUMN_LORD_HOWE,
    vixie: ['2026-04-04T14:45Z', '2026-04-05T15:15Z'],
    skip: ['2026-04-04T14:45Z', '2026-04-05T15:15Z'],
  },
]

test.each(TABLE)('$cron in $timeZone from $from', ({ cron, timeZone, from, to, vixie, skip }) => {
  expect(timesOf({ cron, timeZone }, from, to)).toEqual(vixie)
  expect(timesOf({ cron, timeZone, dst: 'skip' }, from, to)).toEqual(skip)
})

test.each([SPRING_BERLIN, AUTUMN_BERLIN, SPRING_NEW_YORK, AUTUMN_NEW_YORK, SPRING_LORD_HOWE, AUTUMN_LORD_HOWE])(
  'every half hour in $timeZone from $from, through the jump too',
  ({ timeZone, from, to }) => {
    const all = timesOf({ cron: '*/30 * * * *', timeZone }, from, to)
    const first = Date.parse(from)
    expect(all).toHaveLength((Date.parse(to) - first) / (30 * MINUTE))
  },
)

/** The minutes of the local clock at each minute of UTC, without croner. */
function clockOf(
  timeZone: string,
): (ms: number) => { readonly minute: number; readonly hour: number; readonly day: string } {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    hourCycle: 'h23',
    ...{ year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit' },
  })
  return (ms) => {
    const parts = Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]))
    return { minute: Number(parts['minute']), hour: Number(parts['hour']), day: `${parts['month']}-${parts['day']}` }
  }
}

interface Field {
  readonly text: string
  /** Without a wildcard or a step: its values. */
  readonly values: readonly number[] | null
  has(value: number): boolean
}

const field = (max: number): fc.Arbitrary<Field> =>
  fc.oneof(
    fc
      .uniqueArray(fc.nat(max), { minLength: 1, maxLength: 4 })
      .map((values): Field => ({ text: values.join(','), values, has: (value) => values.includes(value) })),
    fc
      .integer({ min: 2, max: 23 })
      .map((step): Field => ({ text: `*/${step}`, values: null, has: (value) => value % step === 0 })),
    fc.constant<Field>({ text: '*', values: null, has: () => true }),
  )

const JUMPS = [
  SPRING_BERLIN,
  AUTUMN_BERLIN,
  SPRING_NEW_YORK,
  AUTUMN_NEW_YORK,
  SPRING_LORD_HOWE,
  AUTUMN_LORD_HOWE,
  { timeZone: 'Asia/Kolkata', from: '2026-06-01T00:00:00Z', to: '2026-06-03T00:00:00Z' },
]
const clocks = new Map(
  JUMPS.map(({ timeZone, from, to }) => {
    const clock = clockOf(timeZone)
    const minutes = []
    for (let at = Date.parse(from) + 12 * HOUR; at < Date.parse(to) - 24 * HOUR; at += MINUTE)
      minutes.push({ at, ...clock(at) })
    return [from + timeZone, minutes] as const
  }),
)

test('random expressions around the jumps agree with a walk through every minute', () => {
  const jump = fc.constantFrom(...JUMPS)
  fc.assert(
    fc.property(jump, field(59), field(23), fc.boolean(), ({ timeZone, from }, minute, hour, skips) => {
      const minutes = clocks.get(from + timeZone) ?? []
      const [start, end] = [minutes[0]?.at ?? 0, (minutes.at(-1)?.at ?? 0) + MINUTE]
      const fixed =
        minute.values === null || hour.values === null
          ? null
          : hour.values.flatMap((hours) => (minute.values ?? []).map((each) => hours * 60 + each))
      const expected: number[] = []
      const ran = new Set<string>()
      for (const [index, now] of minutes.entries()) {
        const before = minutes[index - 1]
        const matches = minute.has(now.minute) && hour.has(now.hour)
        const shown = `${now.day} ${now.hour}:${now.minute}`
        if (matches && !(fixed !== null && ran.has(shown))) {
          expected.push(now.at)
          ran.add(shown)
        } else if (fixed !== null && !skips && before !== undefined && before.day === now.day) {
          // The clock jumped over a time of this day.
          const was = before.hour * 60 + before.minute
          const is = now.hour * 60 + now.minute
          if (fixed.some((wanted) => was < wanted && wanted < is)) expected.push(now.at)
        }
      }
      const when: When = { cron: `${minute.text} ${hour.text} * * *`, timeZone, dst: skips ? 'skip' : 'vixie' }
      expect(timesOf(when, iso(start), iso(end))).toEqual(
        expected.map((at) => new Date(at).toISOString().replace(':00.000Z', 'Z')),
      )
    }),
    { numRuns: Number(process.env['MILLRACE_SEEDS'] ?? 100) },
  )
})

test('an interval counts from the beginning of 1970, with its offset', () => {
  expect(timesOf({ every: '15m', offset: '5m' }, '2026-01-01T00:00:00Z', '2026-01-01T00:40:00Z')).toEqual([
    '2026-01-01T00:05Z',
    '2026-01-01T00:20Z',
    '2026-01-01T00:35Z',
  ])
  expect(
    timesOf({ every: '1h', until: '2026-01-01T02:00:00Z' }, '2026-01-01T00:30:00Z', '2026-01-02T00:00:00Z'),
  ).toEqual(['2026-01-01T01:00Z', '2026-01-01T02:00Z'])
})

test('a time that comes once in many years is found, and one that never comes is not', () => {
  expect(timesOf({ cron: '0 0 29 2 *' }, '2026-01-01T00:00:00Z', '2033-01-01T00:00:00Z')).toEqual([
    '2028-02-29T00:00Z',
    '2032-02-29T00:00Z',
  ])
  expect(timeAfter(timingOf({ cron: '0 0 30 2 *' }, 'test'), Date.parse('2026-01-01T00:00:00Z'))).toBeNull()
})

const whens = fc.oneof(
  fc.integer({ min: 1, max: 200 }).map((seconds): When => ({ every: seconds * 1000 })),
  fc
    .constantFrom('* * * * * *', '*/7 * * * * *', '* * * * *', '*/5 * * * *', '0 * * * *')
    .map((cron): When => ({ cron })),
)

test('the last time up to a moment is found without a walk', () => {
  fc.assert(
    fc.property(whens, fc.nat(4000), fc.option(fc.nat(4000), { nil: undefined }), (when, seconds, untilSeconds) => {
      const zero = Date.parse('2026-03-29T00:30:00Z')
      const until = untilSeconds === undefined ? {} : { until: zero + 3_700_000 + untilSeconds * 1000 }
      const timing = timingOf({ ...when, ...until }, 'test')
      const first = timeAfter(timing, zero) as number
      const to = first + seconds * 1000
      let last = first
      for (let next = timeAfter(timing, last); next !== null && next <= to; next = timeAfter(timing, next)) last = next
      expect(lastTimeUpTo(timing, first, to)).toBe(last)
    }),
    { numRuns: 25 },
  )
})

test('whenever turns are taken, each time publishes once, in order, and the policy decides about missed ones', () => {
  const policy = fc.constantFrom('one' as const, 'all' as const, 'skip' as const)
  const jitter = fc.constantFrom(0, 0, 500, 30_000)
  fc.assert(
    fc.property(
      whens,
      policy,
      jitter,
      fc.array(fc.nat(400_000), { maxLength: 12 }),
      (when, missed, jitterMs, waits) => {
        const timing = timingOf({ ...when, missed, jitter: jitterMs }, 'test')
        const zero = Date.parse('2026-01-01T00:00:00Z')
        let now = zero
        let next = timeAfter(timing, zero)
        const published: number[] = []
        for (const wait of waits) {
          now += wait
          for (;;) {
            if (next === null || dueOf('test', timing, next) > now) break
            const turn = turnAt('test', timing, next, now)
            expect(turn.nextMs === null || turn.nextMs > next || turn.times.length > 0).toBe(true)
            published.push(...turn.times)
            next = turn.nextMs
          }
        }
        expect(published).toEqual([...new Set(published)].sort((a, b) => a - b))
        for (const each of published) expect(dueOf('test', timing, each)).toBeLessThanOrEqual(now)
        if (missed !== 'all') return
        const all: number[] = []
        for (let at = timeAfter(timing, zero); at !== null && at < (next ?? 0); at = timeAfter(timing, at)) all.push(at)
        expect(published).toEqual(all)
      },
    ),
    { numRuns: 60 },
  )
})
