/** A server tells its client how many of its settlements are durable, also after a failed flush. */
import { expect, onTestFinished, test, vi } from 'vitest'
import type { Subscription } from '../../src/broker/engine.ts'
import { FRAME, FRAME_HEADER_BYTES } from '../../src/wire/frame.ts'
import type { Link } from '../../src/wire/link.ts'
import { ServedSubscription } from '../../src/wire/server/served-subscription.ts'
import { Settlements, VERB } from '../../src/wire/settle-frame.ts'
import { workerSpec } from './worker-spec.ts'

/** One delivery completed. */
function settlement(): Settlements {
  const body = Buffer.alloc(16 + 5)
  body.writeUInt32LE(1, 0)
  body.writeUInt32LE(1, 4)
  body[20] = VERB.complete
  return new Settlements(body, null)
}

test('settlements are confirmed again after a flush that was rejected', async () => {
  vi.useFakeTimers()
  onTestFinished(() => void vi.useRealTimers())
  const frames: Buffer[] = []
  const told = (): number[] =>
    frames.filter((frame) => frame[4] === FRAME.settled).map((frame) => frame.readUInt32LE(FRAME_HEADER_BYTES + 4))
  const answers = ['rejected', 'rejected', 'durable']
  const flushed = async (): Promise<void> => {
    if (answers.shift() === 'rejected') throw new Error('a partition was lost')
  }
  const link = { send: (frame: Buffer) => frames.push(frame) } as unknown as Link
  const served = new ServedSubscription(1, workerSpec, {
    link,
    again: true,
    knows: () => true,
    look: async () => undefined,
    checkedEmissions: (emissions) => emissions,
  })
  served.begin({ flushed, close: async () => undefined } as Subscription)
  served.settle(settlement())
  await vi.advanceTimersByTimeAsync(100)
  expect(told()).toEqual([])
  served.settle(settlement())
  await vi.advanceTimersByTimeAsync(2500)
  expect(told()).toEqual([2])
  // The next one is confirmed at once.
  served.settle(settlement())
  await vi.advanceTimersByTimeAsync(100)
  expect(told()).toEqual([2, 3])
  // No flush is requested after the end.
  answers.push('rejected')
  served.settle(settlement())
  await vi.advanceTimersByTimeAsync(100)
  await served.close()
  expect(vi.getTimerCount()).toBe(0)
})
