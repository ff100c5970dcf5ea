/** Suspects run alone, one after the other; those whose place went to another process hold up nobody. */
import { expect, it } from 'vitest'
import { type Suspected, SuspectQueue } from '../../src/delivery/in-flight.ts'

function cursor(name: string, log: string[]): Suspected {
  return {
    state: { isSuspect: () => true },
    beginAlone: (offset) => void log.push(`${name} begins ${offset}`),
    runAlone: (offset) => void log.push(`${name} runs ${offset}`),
  }
}

it('a cursor that has lost its place is passed over at once, with all that it had', async () => {
  const log: string[] = []
  const [lost, lives] = [cursor('lost', log), cursor('lives', log)]
  const suspects = new SuspectQueue((of) => (of === lost ? Promise.reject(new Error('fenced')) : Promise.resolve()))
  suspects.add(lost, 1)
  suspects.add(lost, 2)
  suspects.add(lives, 3)
  await expect.poll(() => log, { timeout: 1000 }).toEqual(['lost begins 1', 'lives begins 3', 'lives runs 3'])
})

it('a cursor that ends while its suspect runs is waited for no longer', async () => {
  const log: string[] = []
  const [ends, lives] = [cursor('ends', log), cursor('lives', log)]
  const suspects = new SuspectQueue(() => Promise.resolve())
  suspects.add(ends, 1)
  suspects.add(lives, 2)
  await expect.poll(() => log).toEqual(['ends begins 1', 'ends runs 1'])
  suspects.forget(ends)
  await expect.poll(() => log.slice(2), { timeout: 1000 }).toEqual(['lives begins 2', 'lives runs 2'])
})
