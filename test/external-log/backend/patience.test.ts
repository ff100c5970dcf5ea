/** Calls that are repeated while the servers are away. */
import { expect, test } from 'vitest'
import { patiently } from '../../../src/external-log/backend/patience.ts'

class Passing extends Error {}

const patience = {
  patienceMs: 60_000,
  isPassing: (error: unknown) => error instanceof Passing,
  givenUp: (error: unknown) => new Error('given up', { cause: error }),
}

test('a call is repeated until it succeeds, and each attempt has its number', async () => {
  const numbers: number[] = []
  const answer = await patiently(async ({ number }) => {
    numbers.push(number)
    if (number < 3) throw new Passing('not yet')
    return 'done'
  }, patience)
  expect([answer, numbers]).toEqual(['done', [1, 2, 3]])
})

test('a failure that does not pass is thrown at once', async () => {
  let attempts = 0
  const work = async (): Promise<void> => {
    attempts++
    throw new TypeError('for good')
  }
  await expect(patiently(work, patience)).rejects.toThrow(TypeError)
  expect(attempts).toBe(1)
})

test('a call whose time is over fails with the error that is made from its last failure', async () => {
  const failures: Passing[] = []
  const work = async (): Promise<void> => {
    const failure = new Passing(`attempt ${failures.length + 1}`)
    failures.push(failure)
    throw failure
  }
  const error: unknown = await patiently(work, { ...patience, patienceMs: 100 }).catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({ message: 'given up', cause: failures.at(-1) })
  expect(failures.length).toBeGreaterThan(1)
})

test('no attempt begins after the deadline, which each attempt is told', async () => {
  const late: boolean[] = []
  const work = async ({ deadlineMs }: { readonly deadlineMs: number }): Promise<void> => {
    late.push(performance.now() > deadlineMs)
    throw new Passing('away')
  }
  await expect(patiently(work, { ...patience, patienceMs: 0 })).rejects.toThrow('given up')
  expect(late).toHaveLength(1)
})
