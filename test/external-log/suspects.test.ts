/** Suspects run alone, one after the other. A suspect whose partition went to another process delays nobody. */
import { expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import type { InFlightRecord } from '../../src/delivery/consumer-records.ts'
import { InFlight } from '../../src/delivery/cursor/in-flight.ts'
import { type Suspected, SuspectQueue } from '../../src/delivery/cursor/suspect-queue.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

function cursor(name: string, log: string[]): Suspected {
  return {
    state: { isSuspect: () => true },
    beginAlone: (offset) => void log.push(`${name} begins ${offset}`),
    runAlone: (offset) => void log.push(`${name} runs ${offset}`),
  }
}

it('a cursor whose partition is lost is skipped at once, with all of its suspects', async () => {
  const log: string[] = []
  const [lost, lives] = [cursor('lost', log), cursor('lives', log)]
  const suspects = new SuspectQueue(
    (of) => (of === lost ? Promise.reject(new Error('fenced')) : Promise.resolve()),
    systemClock,
  )
  suspects.add(lost, 1)
  suspects.add(lost, 2)
  suspects.add(lives, 3)
  await expect.poll(() => log, { timeout: 1000 }).toEqual(['lost begins 1', 'lives begins 3', 'lives runs 3'])
})

it('a cursor that ends while its suspect runs is not waited for any more', async () => {
  const log: string[] = []
  const [ends, lives] = [cursor('ends', log), cursor('lives', log)]
  const suspects = new SuspectQueue(() => Promise.resolve(), systemClock)
  suspects.add(ends, 1)
  suspects.add(lives, 2)
  await expect.poll(() => log).toEqual(['ends begins 1', 'ends runs 1'])
  suspects.forget(ends)
  await expect.poll(() => log.slice(2), { timeout: 1000 }).toEqual(['lives begins 2', 'lives runs 2'])
})

it('the wait for a suspect is measured by the clock of the engine', async () => {
  const log: string[] = []
  const clock = new VirtualClock(0)
  const suspects = new SuspectQueue(() => Promise.resolve(), clock)
  suspects.add(cursor('long', log), 1)
  suspects.add(cursor('next', log), 2)
  await expect.poll(() => log).toEqual(['long begins 1', 'long runs 1'])
  while (clock.step(10_000));
  await expect.poll(() => log.slice(2), { timeout: 1000 }).toEqual(['next begins 2', 'next runs 2'])
})

it('events in flight are recorded by the clock of the engine', () => {
  const clock = new VirtualClock(0)
  const saved: InFlightRecord[] = []
  const held = { credit: 1, offsets: [7] }
  const after = clock.after.bind(clock)
  const inFlight = new InFlight({
    recordInFlight: () => held,
    save: (record) => void saved.push(record),
    after,
    aloneDone: () => undefined,
  })
  inFlight.arm()
  expect(saved).toEqual([])
  while (clock.step(1000));
  expect(saved).toEqual([{ credit: 1, offsets: [7], solo: null }])
})
