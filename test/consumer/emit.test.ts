/** `ctx.emit`: it takes what `publish` takes, and nothing that is emitted vanishes unseen. */
import { describe, expect, test } from 'vitest'
import { consumer, type HandlerContext, isMillraceError, queue } from '../../src/index.ts'
import { Gate, Noted, notes, open, turns } from './fixture.ts'

const out = queue('out')

async function count(broker: ReturnType<typeof open>['broker']): Promise<number> {
  let events = 0
  for await (const _ of broker.read(out)) events++
  return events
}

test.each([
  [{ delayMs: 5000 }],
  [{ delay: '1h', at: 1 }],
  [{ delay: '4000d' }],
  [{ delay: 'soon' }],
  [{ delay: -1 }],
  [{ at: null }],
  [{ at: -5 }],
  [{ at: '2030-01-01' }],
  [{ at: '5' }],
  [{ at: new Date(Number.NaN) }],
  [{ at: Number.NaN }],
  [{ at: 1e300 }],
])('%j is refused by emit as by publish', async (options) => {
  const { broker, clock } = open()
  const codes: unknown[] = []
  await broker.declare(out)
  const worker = consumer('worker', notes).on(Noted, async (_, ctx) => {
    await ctx
      .emit(out, { type: 'x' }, options as never)
      .catch((error: unknown) => codes.push((error as { code: unknown }).code))
  })
  await broker.start(worker)
  await broker.publish(notes, Noted(1))
  await clock.pass(10)
  await broker
    .publish(out, { type: 'x' }, options as never)
    .catch((error: unknown) => codes.push((error as { code: unknown }).code))
  expect(codes).toEqual(['INVALID_OPTION', 'INVALID_OPTION'])
  expect(await count(broker)).toBe(0)
})

describe('an emission after the handler has ended', () => {
  const late = async (
    emit: (ctx: HandlerContext) => unknown,
    fails = false,
  ): Promise<ReturnType<typeof open> & { codes: string[] }> => {
    const bed = open()
    const [gate, codes] = [new Gate(), [] as string[]]
    await bed.broker.declare(out)
    const worker = consumer('worker', notes, { retry: { attempts: 1 } }).on(Noted, (_, ctx) => {
      void gate.opened
        .then(() => emit(ctx))
        .catch((error: unknown) => codes.push(isMillraceError(error) ? error.code : String(error)))
      if (fails) throw new Error('failed')
    })
    await bed.broker.start(worker)
    await bed.broker.publish(notes, Noted(1))
    await bed.clock.pass(10)
    gate.open()
    await turns()
    expect(await count(bed.broker)).toBe(0)
    return { ...bed, codes }
  }

  test.each([false, true])(
    'is refused, and raises an alarm if nobody awaits it (after a failed attempt: %s)',
    async (fails) => {
      const { alarms, codes } = await late((ctx) => void ctx.emit(out, { type: 'x' }), fails)
      expect(alarms.map(({ code }) => code)).toEqual(['CLOSED'])
      for (const named of ['consumer "worker"', '"out"', 'offset 0 of "notes"', 'await ctx.emit'])
        expect(alarms[0]?.message).toContain(named)
      expect(codes).toEqual([])
    },
  )

  test('is refused, and raises no alarm if it is awaited', async () => {
    const { alarms, codes } = await late((ctx) => ctx.emit(out, { type: 'x' }))
    expect([alarms, codes]).toEqual([[], ['CLOSED']])
  })

  test('raises one alarm for many emissions', async () => {
    const { alarms } = await late((ctx) => {
      for (let n = 0; n < 100; n++) void ctx.emit(out, { type: 'x' })
    })
    expect(alarms).toHaveLength(1)
  })
})

test('an emission that begins in time and is not awaited is stored with the completion; if the attempt fails, it is dropped without an alarm', async () => {
  const { broker, clock, alarms } = open()
  const worker = consumer('worker', notes, { retry: { attempts: 2, backoff: 'fixed', min: 5 } }).on(Noted, (_, ctx) => {
    void ctx.emit(out, { type: 'x' })
    if (ctx.attempt === 1) throw new Error('failed')
  })
  await broker.start(worker)
  await broker.publish(notes, Noted(1))
  await clock.pass(100)
  expect(await count(broker)).toBe(1)
  expect(alarms).toEqual([])
})
