/** Work that runs once at a time: no request is lost, and no run begins during another. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OneAtATime } from '../../src/base/one-at-a-time.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

test('a request that comes during a run gets another run, which all requests of that time share', async () => {
  let runs = 0
  let end: () => void = () => undefined
  const work = new OneAtATime(async () => {
    runs++
    await new Promise<void>((resolve) => {
      end = resolve
    })
  })
  const first = work.ask()
  const second = work.ask()
  expect(work.ask()).toBe(second)
  expect(runs).toBe(1)
  end()
  await first
  await turn()
  expect([runs, work.running]).toEqual([2, true])
  end()
  await second
  expect([runs, work.running]).toEqual([2, false])
})

test('a run that fails is told to those who asked for it, and the next one runs', async () => {
  let runs = 0
  const work = new OneAtATime(async () => {
    await turn()
    if (runs++ === 0) throw new Error('the first')
  })
  const first = work.ask()
  const second = work.ask()
  await expect(first).rejects.toThrow('the first')
  await second
  expect(runs).toBe(2)
})

test('whenever requests come, each is answered by a run that began after it, and runs do not overlap', async () => {
  const step = fc.oneof(fc.constant('ask' as const), fc.constant('turn' as const), fc.constant('microtask' as const))
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 40 }),
      fc.array(fc.nat(3), { minLength: 1 }),
      async (steps, lengths) => {
        let [asked, begun, running] = [0, 0, 0]
        const work = new OneAtATime(async () => {
          expect(running++).toBe(0)
          begun = asked
          for (let left = lengths[asked % lengths.length] as number; left > 0; left--) await Promise.resolve()
          running--
        })
        const answers: Promise<void>[] = []
        for (const each of steps) {
          if (each === 'turn') await turn()
          else if (each === 'microtask') await Promise.resolve()
          else {
            const mine = ++asked
            answers.push(work.ask().then(() => expect(begun).toBeGreaterThanOrEqual(mine)))
          }
        }
        await Promise.all(answers)
        expect(work.running).toBe(false)
      },
    ),
    { numRuns: 2000 },
  )
})
