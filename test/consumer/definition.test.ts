/** What a consumer refuses when it is written: handlers that could never run, and options that are none. */
import { describe, expect, test } from 'vitest'
import { type Consumer, consumer, event, isMillraceError } from '../../src/index.ts'
import { Noted, notes, Other, open } from './fixture.ts'

const nothing = (): void => undefined

/** The refusal of a call, which must be typed and name the consumer. */
function refusal(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    expect(isMillraceError(error, 'INVALID_OPTION') || isMillraceError(error, 'TYPE_NOT_CARRIED'), String(error)).toBe(
      true,
    )
    expect((error as Error).message).toContain('worker')
    return (error as Error).message
  }
  throw new Error('it was not refused')
}

describe('the handlers of one type', () => {
  const on = (to: Consumer<typeof Noted>): unknown => to.on(Noted, nothing)
  const where = (to: Consumer<typeof Noted>): unknown => to.on(Noted.where([1]), nothing)
  const batch = (to: Consumer<typeof Noted>): unknown => to.onBatch(Noted, { size: 2 }, nothing)

  test.each([
    ['a batch beside on()', on, batch],
    ['on() beside a batch', batch, on],
    ['a batch beside where()', where, batch],
    ['where() beside a batch', batch, where],
    ['two batches', batch, batch],
  ])('%s is refused', (_, first, second) => {
    const worker = consumer('worker', notes)
    first(worker as never)
    expect(refusal(() => second(worker as never))).toContain('"noted"')
  })

  test('all on() handlers of a type run in order, and batches of other types and onAny() work beside them', async () => {
    const { broker, clock } = open()
    const ran: string[] = []
    const worker = consumer('worker', notes)
      .on(Noted, () => void ran.push('first'))
      .on(Noted, () => void ran.push('second'))
      .onBatch(Other, { size: 2 }, () => void ran.push('batch'))
      .onAny(() => void ran.push('any'))
    await broker.start(worker)
    await broker.publish(notes, [Noted(1), Other(2)])
    await clock.pass(10)
    expect(ran.sort()).toEqual(['batch', 'first', 'second'])
  })
})

describe('a consumer refuses', () => {
  test.each([
    ['a.x'],
    [undefined],
    [null],
    [7],
    [{}],
    [() => undefined],
    [{ definition: {} }],
    [{ definition: null }],
    [Symbol('s')],
  ])('%s as an event', (given) => {
    const worker = consumer('worker', notes)
    expect(refusal(() => worker.on(given as never, nothing))).toContain('takes an event definition')
    expect(refusal(() => worker.onBatch(given as never, { size: 1 }, nothing))).toContain('takes an event definition')
  })

  test('a filter for a batch', () => {
    expect(refusal(() => consumer('worker', notes).onBatch(Noted.where([1]) as never, { size: 1 }, nothing))).toContain(
      'onBatch() of',
    )
  })

  test.each([[undefined], [null], ['handler'], [{}]])('%s as a handler', (given) => {
    const worker = consumer('worker', notes)
    for (const call of [
      () => worker.on(Noted, given as never),
      () => worker.onAny(given as never),
      () => worker.onBatch(Noted, { size: 1 }, given as never),
    ]) {
      expect(refusal(call)).toContain('is not a function')
    }
  })

  test('a type that no channel carries', () => {
    expect(refusal(() => consumer('worker', notes).on(event('elsewhere') as never, nothing))).toContain('"elsewhere"')
  })
})

describe('handlers that are added late', () => {
  test('are refused after the start, also when the consumer has stopped', async () => {
    const { broker, clock } = open()
    const seen: number[] = []
    const worker = consumer('worker', notes).on(Noted, ({ data }) => void seen.push(data))
    const started = await broker.start(worker)
    for (const add of [
      () => worker.on(Other, nothing),
      () => worker.onAny(nothing),
      () => worker.onBatch(Other, { size: 1 }, nothing),
    ]) {
      expect(refusal(add)).toContain('was started')
    }
    await broker.publish(notes, Noted(1))
    await clock.pass(10)
    await started.stop()
    expect(refusal(() => worker.on(Other, nothing))).toContain('was started')
    expect(seen).toEqual([1])
  })

  test('are accepted after a start that failed', async () => {
    const { broker } = open()
    const worker = consumer('worker', 'unknown-channel').on(event('a'), nothing)
    await expect(broker.start(worker)).rejects.toThrow('unknown-channel')
    worker.on(event('b'), nothing)
    const empty = consumer('worker', notes)
    await expect(broker.start(empty)).rejects.toThrow('has no handler')
    await broker.start(empty.on(Noted, nothing))
  })
})

test.each([
  ['retry.min', { retry: { min: '4000d', max: '4000d' } }],
  ['retry.max', { retry: { max: '4000d' } }],
])('%s is at most ten years', (_, options) => {
  expect(() => consumer('worker', notes, options as never)).toThrow(/at most ten years/)
})
