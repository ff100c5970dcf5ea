import { expect, it } from 'vitest'
import type { Running, RunSummary } from '../../src/consumer/consumer-types.ts'
import { RunningProcess } from '../../src/process/running-process.ts'

const summary = { completed: 0, retried: 0, deadLettered: 0, released: 0 } as RunSummary

/** A consumer that runs, and whose stop ends so. */
function running(stops: () => Promise<RunSummary>): Running & { stopped: number } {
  return {
    name: 'x',
    done: new Promise<RunSummary>(() => undefined),
    stopped: 0,
    stop() {
      this.stopped++
      return stops()
    },
    pause: () => undefined,
    resume: () => undefined,
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

it('a process stops both of its consumers, also when the first one fails to stop', async () => {
  const intake = running(() => Promise.reject(new Error('the store failed')))
  const steps = running(() => Promise.resolve(summary))
  await expect(new RunningProcess('checkout', intake, steps).stop()).rejects.toThrow('the store failed')
  expect([intake.stopped, steps.stopped]).toEqual([1, 1])
})
