/** What a consumer has settled, as records: also when it is rewound while a commit is under way. */
import { expect, test } from 'vitest'
import type { RecordChange } from '../../src/delivery/cursor-host.ts'
import { CursorState, type StateHost } from '../../src/delivery/cursor-state.ts'
import { SlowLog } from './cursor-world.ts'

test('a rewind forgets what is settled in a commit that is under way', () => {
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
