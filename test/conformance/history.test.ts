/**
 * Tests of the history checker: a clean history has no anomaly, and each planted anomaly is found under its own name
 * only.
 */
import { describe, expect, test } from 'vitest'
import { ANOMALIES, type AnomalyName, type Guarantees } from '../../src/testing/history/anomaly.ts'
import { checkHistory } from '../../src/testing/history/check-history.ts'
import type { Operation, Poll } from '../../src/testing/history/operation.ts'
import { HistoryRecorder, readHistory } from '../../src/testing/history/recorder.ts'

type Change = (history: Operation[]) => Operation[]

/**
 * Two producers, two keys, a consumer with two instances that emits, readers of both channels, and a complete drain.
 */
function cleanHistory(): Operation[] {
  const history: Operation[] = []
  let time = 0
  const add = (operation: object): void => void history.push({ ...operation, time: (time += 10) } as Operation)
  for (let n = 0; n < 12; n++) {
    const sent = { action: 'send', process: `p${n % 2}`, channel: 'orders', key: `k${n % 3}`, value: `v${n}` }
    add({ ...sent, outcome: 'invoke', offset: null })
    add({ ...sent, outcome: 'ok', offset: n })
  }
  for (let n = 0; n < 12; n++) {
    const process = `i${n % 3 === 0 ? 0 : 1}`
    const [handled, key] = [{ process, consumer: 'c', channel: 'orders', offset: n, value: `v${n}` }, `k${n % 3}`]
    if (n === 4) {
      add({ action: 'poll', ...handled, key, attempt: 1 })
      add({
        action: 'emit',
        process,
        consumer: 'c',
        cause: 'v4',
        attempt: 1,
        channel: 'out',
        key: null,
        value: 'e4-failed',
        slot: '0',
      })
      add({ action: 'done', ...handled, attempt: 1, outcome: 'invoke' })
      add({ action: 'done', ...handled, attempt: 1, outcome: 'fail' })
    }
    const attempt = n === 4 ? 2 : 1
    add({ action: 'poll', ...handled, key, attempt })
    add({
      action: 'emit',
      process,
      consumer: 'c',
      cause: `v${n}`,
      attempt,
      channel: 'out',
      key: null,
      value: `e${n}`,
      slot: '0',
    })
    add({ action: 'done', ...handled, attempt, outcome: 'invoke' })
    add({ action: 'done', ...handled, attempt, outcome: 'ok' })
  }
  for (let n = 0; n < 12; n++)
    add({
      action: 'poll',
      process: 'r-orders',
      consumer: null,
      channel: 'orders',
      key: null,
      offset: n,
      value: `v${n}`,
    })
  for (let n = 0; n < 12; n++)
    add({ action: 'poll', process: 'r-out', consumer: null, channel: 'out', key: null, offset: n, value: `e${n}` })
  add({ action: 'drain', process: 'r-orders', consumer: null, channels: ['orders', 'out'] })
  add({ action: 'drain', process: 'i0', consumer: 'c', channels: ['orders'] })
  return history
}

const ofReader = (operation: Operation): operation is Poll => operation.action === 'poll' && operation.consumer === null
const about = (operation: Operation, value: string): boolean => 'value' in operation && operation.value === value
/** Change the operations that a test selects; null removes them. */
function change(pick: (operation: Operation) => boolean, to: (operation: Operation) => object | null): Change {
  return (history) =>
    history.flatMap((operation) => {
      if (!pick(operation)) return [operation]
      const changed = to(operation)
      return changed === null ? [] : [{ ...operation, ...changed } as Operation]
    })
}
const without = (pick: (operation: Operation) => boolean): Change => change(pick, () => null)
const neverSeen = (value: string): Change =>
  without(
    (operation) =>
      (operation.action === 'poll' || operation.action === 'done' || operation.action === 'emit') &&
      (about(operation, value) || about(operation, value.replace('v', 'e'))),
  )
/** Move an operation to another time. */
const moved =
  (pick: (operation: Operation) => boolean, time: (history: readonly Operation[]) => number): Change =>
  (history) =>
    change(pick, () => ({ time: time(history) }))(history)
const timeOf = (history: readonly Operation[], pick: (operation: Operation) => boolean): number =>
  history.find(pick)?.time ?? Number.NaN

interface Planted {
  readonly anomaly: AnomalyName
  readonly how: string
  readonly plant: Change
  readonly guarantees?: Guarantees
  /** Further anomalies that the same fault causes. */
  readonly also?: readonly AnomalyName[]
}

const PLANTED: readonly Planted[] = [
  { anomaly: 'lost-write-prefix', how: 'nobody sees the first event', plant: neverSeen('v0') },
  { anomaly: 'lost-write-middle', how: 'nobody sees the fifth event', plant: neverSeen('v5'), also: ['skip'] },
  { anomaly: 'lost-write-postfix', how: 'nobody sees the last event', plant: neverSeen('v11') },
  {
    anomaly: 'lost-write-middle',
    how: 'one consumer is not given what readers see',
    plant: without((o) => !ofReader(o) && o.action !== 'send' && (about(o, 'v5') || about(o, 'e5'))),
    also: ['phantom-read'],
  },
  {
    anomaly: 'unseen',
    how: 'an acknowledged delayed event never comes',
    plant: (h) => [...h, ...sent('later', null, 5)],
  },
  {
    anomaly: 'unseen',
    how: 'nothing of a channel is ever seen',
    plant: (h) =>
      [...h, ...sent('v-other', 0, 5, 'other')].map((o) =>
        o.action === 'drain' ? { ...o, channels: [...o.channels, 'other'] } : o,
      ),
  },
  {
    anomaly: 'duplicate',
    how: 'a value is at two offsets',
    plant: (h) => [...h, { ...read(h, 'v3'), offset: 12, time: timeOf(h, (o) => ofReader(o) && about(o, 'v11')) + 1 }],
  },
  {
    anomaly: 'inconsistent-offsets',
    how: 'two readers see different values at an offset',
    plant: change(
      (o) => ofReader(o) && about(o, 'v3'),
      () => ({ value: 'v2' }),
    ),
    also: ['duplicate', 'lost-write-middle'],
  },
  {
    anomaly: 'aborted-read',
    how: 'a refused send is seen',
    plant: change(
      (o) => o.action === 'send' && o.outcome === 'ok' && about(o, 'v6'),
      () => ({ outcome: 'fail', offset: null }),
    ),
  },
  {
    anomaly: 'aborted-read',
    how: 'what a failed attempt emitted is seen',
    plant: (h) => [...h, { ...read(h, 'e11'), value: 'e4-failed', offset: 12, time: read(h, 'e11').time + 1 }],
    also: ['emission-doubled'],
  },
  {
    anomaly: 'precommitted-read',
    how: 'an event is read before it is sent',
    plant: moved(
      (o) => ofReader(o) && about(o, 'v0'),
      () => 1,
    ),
  },
  {
    anomaly: 'precommitted-read',
    how: 'an emission is read before its handler has finished',
    plant: (h) =>
      moved(
        (o) => ofReader(o) && about(o, 'e0'),
        () => timeOf(h, (o) => o.action === 'emit' && about(o, 'e0')) + 1,
      )(h),
  },
  {
    anomaly: 'phantom-read',
    how: 'a value that nobody sent',
    plant: (h) => [...h, { ...read(h, 'v11'), value: 'ghost', offset: 12, time: read(h, 'v11').time + 1 }],
  },
  {
    anomaly: 'skip',
    how: 'a reader goes past an event that another saw',
    plant: (h) => [
      ...h,
      ...[3, 5, 6].map((offset, at) => ({ ...read(h, `v${offset}`), process: 'r2', time: 10_000 + at })),
    ],
  },
  {
    anomaly: 'non-monotonic-poll',
    how: 'a reader goes back',
    plant: (h) => [
      ...h,
      ...[4, 5, 4].map((offset, at) => ({ ...read(h, `v${offset}`), process: 'r2', time: 10_000 + at })),
    ],
  },
  {
    anomaly: 'non-monotonic-poll',
    how: 'a reader is given an event twice',
    plant: (h) => [
      ...h,
      ...[4, 4].map((offset, at) => ({ ...read(h, `v${offset}`), process: 'r2', time: 10_000 + at })),
    ],
  },
  {
    anomaly: 'non-monotonic-send',
    how: 'a producer is told a lower offset for its later send',
    plant: (h) => h.map(swapFirstAndThird),
  },
  {
    anomaly: 'order-by-key',
    how: 'a later event of a key is handed out before the earlier is done',
    plant: (h) =>
      moved(
        (o) => o.action === 'poll' && o.consumer === 'c' && about(o, 'v3'),
        () => timeOf(h, (o) => o.action === 'poll' && o.consumer === 'c' && about(o, 'v0')) - 1,
      )(h),
    also: ['overlap'],
  },
  {
    anomaly: 'order-by-key',
    how: 'a failed event is passed by the next of its key',
    plant: (h) => swapHandled(h),
    also: [],
  },
  { anomaly: 'overlap', how: 'one event is in two hands', plant: (h) => twoHands(h) },
  {
    anomaly: 'done-again',
    how: 'a done event is handled again',
    plant: (h) => handledAgain(h),
    guarantees: { doneOnce: true },
  },
  { anomaly: 'emission-doubled', how: 'two attempts’ emissions are there', plant: (h) => doubled(h) },
  {
    anomaly: 'emission-lost',
    how: 'an emission is not there',
    plant: without((o) => ofReader(o) && about(o, 'e7')),
    also: ['unseen'],
  },
]

function sent(value: string, offset: number | null, time: number, channel = 'orders'): Operation[] {
  const send = { action: 'send', process: 'p9', channel, key: null, value } as const
  return [
    { ...send, outcome: 'invoke', offset: null, time },
    { ...send, outcome: 'ok', offset, time: time + 1 },
  ]
}

function read(history: readonly Operation[], value: string): Poll {
  return history.find((o): o is Poll => ofReader(o) && o.value === value) as Poll
}

/** v0, of the producer p0, is at offset 2, and its later v2 at offset 0. */
function swapFirstAndThird(operation: Operation): Operation {
  if (!('value' in operation) || (operation.value !== 'v0' && operation.value !== 'v2')) return operation
  if (ofReader(operation)) return { ...operation, value: operation.value === 'v0' ? 'v2' : 'v0' }
  return 'offset' in operation && operation.offset !== null
    ? ({ ...operation, offset: 2 - operation.offset } as Operation)
    : operation
}

/** The handling of v1 fails before that of v4 (same key), and v4 is handled all the same. */
function swapHandled(history: Operation[]): Operation[] {
  const v1 = history.filter((o) => o.action === 'poll' && o.consumer === 'c' && o.value === 'v1')
  const failed = history.map((o) =>
    o.action === 'done' && o.value === 'v1' && o.outcome === 'ok' ? { ...o, outcome: 'fail' as const } : o,
  )
  const out = failed.filter((o) => !about(o, 'e1'))
  const again = v1.map((o) => ({ ...o, attempt: 2, time: 9000 }) as Operation)
  const done = {
    action: 'done',
    process: 'i1',
    consumer: 'c',
    channel: 'orders',
    offset: 1,
    value: 'v1',
    attempt: 2,
  } as const
  return [...out, ...again, { ...done, outcome: 'invoke', time: 9001 }, { ...done, outcome: 'ok', time: 9002 }]
}

function twoHands(history: Operation[]): Operation[] {
  const poll = history.find((o) => o.action === 'poll' && o.consumer === 'c' && o.value === 'v11') as Poll
  return [...history, { ...poll, process: 'i7', time: poll.time + 1 }]
}

function handledAgain(history: Operation[]): Operation[] {
  const poll = history.find((o) => o.action === 'poll' && o.consumer === 'c' && o.value === 'v11') as Poll
  return [...history, { ...poll, attempt: 1, time: 20_000 }]
}

/** v4's first attempt succeeded too, and its emission exists. */
function doubled(history: Operation[]): Operation[] {
  const first = history.map((o) =>
    o.action === 'done' && o.value === 'v4' && o.attempt === 1 && o.outcome === 'fail'
      ? { ...o, outcome: 'ok' as const }
      : o,
  )
  const last = read(history, 'e11')
  return [...first, { ...last, value: 'e4-failed', offset: 12, time: last.time + 1 }]
}

const names = (history: readonly Operation[], guarantees?: Guarantees): AnomalyName[] =>
  [...new Set(checkHistory(history, guarantees).map((found) => found.name))].sort()

describe('checkHistory', () => {
  test('a clean history has no anomaly', () => {
    expect(checkHistory(cleanHistory(), { doneOnce: true })).toEqual([])
    expect(checkHistory([])).toEqual([])
  })

  test.each(PLANTED)('$anomaly: $how', ({ anomaly, plant, guarantees, also = [] }) => {
    expect(names(plant(cleanHistory()), guarantees)).toEqual([...new Set([anomaly, ...also])].sort())
  })

  test('every anomaly has a planted fault', () => {
    expect([...new Set(PLANTED.map((planted) => planted.anomaly))].sort()).toEqual(Object.keys(ANOMALIES).sort())
  })

  test('an unknown outcome may be seen or not', () => {
    const unknown = change(
      (o) => o.action === 'send' && o.outcome === 'ok' && about(o, 'v6'),
      () => ({ outcome: 'unknown', offset: null }),
    )(cleanHistory())
    expect(checkHistory(unknown)).toEqual([])
    expect(checkHistory(neverSeen('v6')(unknown))).toEqual([])
  })

  test('a killed process leaves its events to others', () => {
    const history = cleanHistory()
    const poll = history.find((o) => o.action === 'poll' && o.consumer === 'c' && o.value === 'v11') as Poll
    const killed: Operation[] = [
      ...history,
      { ...poll, process: 'i7', time: poll.time - 5 },
      { action: 'end', process: 'i7', time: poll.time - 4 },
    ]
    expect(checkHistory(killed)).toEqual([])
  })

  test('without a drain nothing is lost yet', () => {
    const history = without((o) => o.action === 'drain')(cleanHistory())
    expect(names(neverSeen('v11')(history))).toEqual([])
    expect(names(neverSeen('v0')(history))).toEqual([])
  })
})

describe('HistoryRecorder', () => {
  test('writes lines that can be read back, whole ones only', async () => {
    let text = ''
    const recorder = new HistoryRecorder({ write: (line) => void (text += line) })
    const what = { process: 'p', channel: 'orders', key: 'k', value: 'v0' }
    await recorder.send(what, async () => ({ offset: 0 }))
    await expect(recorder.send({ ...what, value: 'v1' }, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    await recorder.handle({ ...what, process: 'i', consumer: 'c', offset: 0, attempt: 1 }, () => 1)
    expect(readHistory(`${text}{"action":"po`)).toEqual(recorder.operations)
    expect(
      recorder.operations.map((each) => ('outcome' in each ? `${each.action} ${each.outcome}` : each.action)),
    ).toEqual(['send invoke', 'send ok', 'send invoke', 'send fail', 'poll', 'done invoke', 'done ok'])
    expect(checkHistory(recorder.operations)).toEqual([])
  })
})
