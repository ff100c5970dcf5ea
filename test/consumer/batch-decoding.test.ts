/** Batches of events that are decoded late, or cannot be decoded: the events of a key stay in order. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { describe, expect, test } from 'vitest'
import { consumer, type EventDefinition, event, type StoredEvent, stream } from '../../src/index.ts'
import { open, turns } from './fixture.ts'

/** A schema of numbers. `check` may return a promise for the result, or throw. */
function numbers(check: (value: number) => unknown): StandardSchemaV1<number, number> {
  const validate = (value: unknown): StandardSchemaV1.Result<number> | Promise<StandardSchemaV1.Result<number>> => {
    const result = check(value as number)
    const done = { value: value as number }
    return result instanceof Promise
      ? result.then(() => done)
      : result === false
        ? { issues: [{ message: 'no' }] }
        : done
  }
  return { '~standard': { version: 1, vendor: 'test', validate } }
}

type Noted = EventDefinition<'noted', number, number>
const keyed = (definition: Noted) => stream('notes', { events: [definition], key: () => 'one' })
const datas = (events: readonly StoredEvent<string, number>[]): number[] => events.map(({ data }) => data)

describe('a batch of events whose schema is asynchronous', () => {
  test('is handled although it is not full', async () => {
    const { broker, clock } = open()
    const Late: Noted = event(
      'noted',
      numbers(() => Promise.resolve()),
    )
    const notes = keyed(Late)
    const got: number[][] = []
    await broker.start(consumer('c', notes).onBatch(Late, { size: 10 }, (events) => void got.push(datas(events))))
    await broker.publish(notes, [Late(1), Late(2), Late(3)])
    await turns()
    expect(got.flat()).toEqual([1, 2, 3])
    await broker.start(
      consumer('waits', notes).onBatch(Late, { size: 10, wait: '50ms' }, (events) => void got.push(datas(events))),
    )
    got.length = 0
    await clock.pass(60)
    expect(got.flat()).toEqual([1, 2, 3])
  })

  test('has the events of a key in order, whichever is decoded first', async () => {
    const { broker, clock } = open()
    let handling = false
    const Late: Noted = event(
      'noted',
      numbers((value) => (handling ? new Promise<void>((resolve) => clock.after(10 - value, resolve)) : true)),
    )
    const notes = keyed(Late)
    await broker.publish(
      notes,
      [1, 2, 3, 4, 5, 6].map((value) => Late(value)),
    )
    handling = true
    const got: number[][] = []
    await broker.start(consumer('c', notes).onBatch(Late, { size: 2 }, (events) => void got.push(datas(events))))
    await clock.pass(100)
    expect(got.flat()).toEqual([1, 2, 3, 4, 5, 6])
    got.length = 0
    await broker.start(
      consumer('larger', notes).onBatch(Late, { size: 10, wait: '5ms' }, (events) => void got.push(datas(events))),
    )
    await clock.pass(100)
    expect(got.flat()).toEqual([1, 2, 3, 4, 5, 6])
  })

  test('is not called with an event of a key behind one that fails late', async () => {
    const { broker, clock } = open()
    let handling = false
    const Late: Noted = event(
      'noted',
      numbers((value) => {
        if (!handling) return true
        const ms = value === 1 ? 10 : 1
        return new Promise<void>((resolve, reject) =>
          clock.after(ms, () => (value === 1 ? reject(new Error('no')) : resolve())),
        )
      }),
    )
    const notes = keyed(Late)
    await broker.publish(
      notes,
      [1, 2, 3].map((value) => Late(value)),
    )
    handling = true
    const got: number[] = []
    const retry = { attempts: 2, backoff: 'fixed', min: '1s', max: '1s' } as const
    await broker.start(
      consumer('c', notes, { retry, onDead: 'skip' }).onBatch(
        Late,
        { size: 10 },
        (events) => void got.push(...datas(events)),
      ),
    )
    await clock.pass(900)
    expect(got).toEqual([])
    await clock.pass(5000)
    expect(got).toEqual([2, 3])
    expect(await broker.deadLetters('c').list()).toMatchObject([{ offset: 0, attempts: 2 }])
  })
})

describe('an event that cannot be decoded in the midst of a batch', () => {
  test('holds back the later events of its key until it has its outcome', async () => {
    const { broker, clock } = open()
    let refuses = false
    const Checked: Noted = event(
      'noted',
      numbers((value) => !(refuses && value === 2)),
    )
    const notes = keyed(Checked)
    await broker.publish(
      notes,
      [1, 2, 3, 4].map((value) => Checked(value)),
    )
    refuses = true
    const got: number[] = []
    await broker.start(consumer('c', notes).onBatch(Checked, { size: 10 }, (events) => void got.push(...datas(events))))
    await clock.pass(5000)
    expect(got).toEqual([1])
    expect(await broker.deadLetters('c').list()).toMatchObject([{ offset: 1, waiting: 2 }])
    refuses = false
    await broker.deadLetters('c').redrive()
    await clock.pass(5000)
    expect(got).toEqual([1, 2, 3, 4])
  })

  test('and is in a newer version holds back the later events of its key until an instance knows it', async () => {
    const { broker, clock } = open()
    const First: Noted = event(
      'noted',
      numbers(() => true),
    )
    const Second: Noted = First.nextVersion(
      2,
      numbers(() => true),
      (value) => value,
    )
    await broker.publish(keyed(First), First(1))
    await broker.publish(keyed(Second), Second(2))
    await broker.publish(keyed(First), First(3))
    const got: string[] = []
    const starting = (definition: Noted, name: string) =>
      broker.start(
        consumer('c', keyed(definition)).onBatch(definition, { size: 10 }, (events) => {
          got.push(...datas(events).map((data) => `${name} ${data}`))
        }),
      )
    const old = await starting(First, 'old')
    await clock.pass(5000)
    expect(got).toEqual(['old 1'])
    await starting(Second, 'new')
    await clock.pass(5000)
    expect(got.map((each) => each.split(' ')[1])).toEqual(['1', '2', '3'])
    await old.stop()
  })
})
