/** The records of a cursor's state: settled offsets across a rewind, and attempts across changes of the owner. */
import { expect, test } from 'vitest'
import { consumerKeys, fromJson, type InFlightRecord, toJson } from '../../src/delivery/consumer-records.ts'
import { CursorState, type StateHost } from '../../src/delivery/cursor/cursor-state.ts'
import type { RecordChange } from '../../src/delivery/cursor-host.ts'
import { SlowLog } from './cursor-world.ts'

test('a rewind forgets offsets that are settled in the commit under way', () => {
  const log = new SlowLog(1, 'orders')
  const durable = new Map<string, Uint8Array>()
  let pending: RecordChange[] = []
  const host: StateHost = {
    get: (key) => durable.get(key),
    range: (from, to) => [...durable].filter(([key]) => key >= from && key < to),
    write: (key, value) => void pending.push([key, value]),
    seek: () => 0,
  }
  const store = (changes: readonly RecordChange[]): void => {
    for (const [key, value] of changes) {
      if (value === null) durable.delete(key)
      else durable.set(key, value)
    }
  }
  log.append('a', 'b', 'c', 'd')
  const state = new CursorState('worker', log, host, { at: 'beginning' })
  const commit = (): RecordChange[] => {
    const changes = pending
    pending = []
    state.collect(changes)
    return changes
  }
  state.done.add(2)
  const underWay = commit()
  state.restart(1)
  store(underWay)
  store(commit())
  const next = new CursorState('worker', log, host, { at: 'beginning' })
  expect([0, 1, 2, 3].filter((offset) => !next.done.has(offset))).toEqual([1, 2, 3])
})

function recordsOf(log: SlowLog): { readonly records: Map<string, Uint8Array>; next(): CursorState } {
  const records = new Map<string, Uint8Array>()
  const host: StateHost = {
    get: (key) => records.get(key),
    range: (from, to) => [...records].filter(([key]) => key >= from && key < to),
    write: (key, value) => void (value === null ? records.delete(key) : records.set(key, value)),
    seek: () => 0,
  }
  return { records, next: () => new CursorState('worker', log, host, { at: 'beginning' }) }
}

test('an attempt is counted once, also if two owners die before the event runs again', () => {
  const log = new SlowLog(1, 'orders')
  log.append('a', 'b', 'c')
  const { records, next } = recordsOf(log)
  next()
  records.set(
    consumerKeys.inFlight('worker', 1),
    toJson({ credit: 1, offsets: [0], solo: null } satisfies InFlightRecord),
  )
  const owners = [next(), next(), next()]
  expect(owners.map((state) => [state.attempts(0), state.isSuspect(0)])).toEqual([
    [1, true],
    [1, true],
    [1, true],
  ])
})

test('deliveries that another member holds count no attempts while it is not known to be dead, and a dead letter is not one of them', () => {
  const log = new SlowLog(1, 'orders')
  log.append('a', 'b', 'c')
  const { records, next } = recordsOf(log)
  const before = next()
  before.done.add(0)
  const changes: RecordChange[] = []
  before.collect(changes)
  for (const [key, value] of changes) if (value !== null) records.set(key, value)
  const key = consumerKeys.inFlight('worker', 1)
  records.set(key, toJson({ credit: 2, offsets: [0, 1], solo: null, heldBy: 'p1' } satisfies InFlightRecord))
  const borrower = next()
  expect([borrower.attempts(1), borrower.isSuspect(1)]).toEqual([0, false])
  expect(fromJson(records.get(key) as Uint8Array)).toEqual({ credit: 2, offsets: [1], solo: null, heldBy: 'p1' })
})
