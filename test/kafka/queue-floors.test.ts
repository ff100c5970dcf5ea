/** A floor of a queue that the registry did not take stays until it does. */
import { expect, onTestFinished, test, vi } from 'vitest'
import { LastingFailures } from '../../src/base/lasting-failures.ts'
import { type FloorsHost, QueueFloors } from '../../src/engines/kafka/queue-floors.ts'

const jobs = { spec: { name: 'jobs' }, incarnation: 'one', partitions: 3 }
const others = { spec: { name: 'others' }, incarnation: 'two', partitions: 1 }

function floors(raise: FloorsHost['raise']): { floors: QueueFloors; raised: string[]; told: string[] } {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const raised: string[] = []
  const told: string[] = []
  const failures = new LastingFailures(3, { raise: (message) => told.push(message), end: () => told.push('ended') })
  return {
    floors: new QueueFloors({ raise, raised: (incarnation) => raised.push(incarnation) }, failures),
    raised,
    told,
  }
}

test('floors whose write failed are written again, with what was settled meanwhile', async () => {
  const written: [string, readonly number[]][] = []
  let failing = true
  const { floors: queue, raised } = floors(async (incarnation, each) => {
    if (failing && incarnation === 'one') throw new Error('no leader')
    written.push([incarnation, each])
  })
  queue.settled(jobs, 0, 10)
  queue.settled(jobs, 2, 7)
  queue.settled(others, 0, 4)
  await vi.advanceTimersByTimeAsync(600)
  // One that fails does not hold back the others.
  expect(written).toEqual([['two', [4]]])
  failing = false
  queue.settled(jobs, 0, 8)
  queue.settled(jobs, 2, 9)
  await vi.advanceTimersByTimeAsync(600)
  expect(written.slice(1)).toEqual([['one', [10, 0, 9]]])
  expect(raised).toEqual(['two', 'one'])
  // Nothing is written twice.
  await vi.advanceTimersByTimeAsync(5000)
  expect(written).toHaveLength(2)
})

test('a write that keeps failing raises an alarm of retention, and is repeated until it succeeds', async () => {
  let failing = true
  const { floors: queue, told } = floors(async () => {
    if (failing) throw new Error('not authorized')
  })
  queue.settled(jobs, 0, 10)
  await vi.advanceTimersByTimeAsync(1200)
  expect(told).toEqual([])
  await vi.advanceTimersByTimeAsync(600)
  expect(told).toEqual([expect.stringMatching(/queue "jobs".*not authorized/)])
  failing = false
  await vi.advanceTimersByTimeAsync(600)
  expect(told.at(-1)).toBe('ended')
})

test('floors that rise during a write are written after it, and closing writes the rest', async () => {
  const written: (readonly number[])[] = []
  let answer: () => void = () => undefined
  const { floors: queue } = floors((_, each) => {
    written.push(each)
    return new Promise((resolve) => {
      answer = resolve
    })
  })
  queue.settled(jobs, 0, 10)
  await vi.advanceTimersByTimeAsync(600)
  queue.settled(jobs, 0, 20)
  answer()
  await vi.advanceTimersByTimeAsync(0)
  const closing = queue.close()
  answer()
  await closing
  expect(written).toEqual([
    [10, 0, 0],
    [20, 0, 0],
  ])
})

test('floors of a channel that was removed are not written again', async () => {
  let writes = 0
  const { floors: queue, told } = floors(async () => {
    writes++
    queue.forget('one')
    throw new Error('the channel is gone')
  })
  queue.settled(jobs, 0, 10)
  await vi.advanceTimersByTimeAsync(5000)
  expect([writes, told]).toEqual([1, []])
})
