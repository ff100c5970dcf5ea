/** A failure while events are appended is told to the callers, and later events go out. */
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { MillraceError } from '../../src/base/errors.ts'
import type { Appended, AppendItem } from '../../src/external-log/log-backend.ts'
import { Appenders } from '../../src/external-log/publish/appending.ts'
import { sendOn } from '../../src/external-log/publish/emitting.ts'
import { stream } from '../../src/index.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

const DEFECT = new Error('a defect')

/** A backend that throws instead of answering. */
class Throwing extends MemoryBackend {
  throwing = false

  override append(channel: string, items: readonly AppendItem[]): Promise<Appended[]> {
    if (this.throwing) throw DEFECT
    return super.append(channel, items)
  }
}

const item = (id: string): AppendItem => ({
  partition: 0,
  event: { id, type: 't', key: null, text: '{}' },
  dedupeId: null,
})

async function world(): Promise<{ backend: Throwing; appenders: Appenders; told: { throwing: boolean } }> {
  const backend = new Throwing(new MemoryServer())
  await backend.createChannel({ format: 1, incarnation: 'a', spec: stream('orders').spec, partitions: 1 })
  const told = { throwing: false }
  const appended = (): void => {
    if (told.throwing) throw DEFECT
  }
  return {
    backend,
    told,
    appenders: new Appenders({ backend, clock: systemClock, appended, unknown: () => undefined }),
  }
}

describe.each([
  [
    'a backend that throws',
    (made: Awaited<ReturnType<typeof world>>, throwing: boolean) => void (made.backend.throwing = throwing),
  ],
  [
    'a host that throws when it is told',
    ({ told }: Awaited<ReturnType<typeof world>>, throwing: boolean) => void (told.throwing = throwing),
  ],
])('%s', (_, set) => {
  test('fails the events of that append, and no later ones', async () => {
    const made = await world()
    const orders = made.appenders.of('orders')
    set(made, true)
    await expect(orders.appendOne(item('a'))).rejects.toBe(DEFECT)
    await expect(orders.append([item('b'), item('c')], true)).rejects.toBe(DEFECT)
    set(made, false)
    await expect(orders.appendOne(item('d'))).resolves.toMatchObject({ id: 'd' })
    await orders.settled()
    await made.appenders.close()
  })
})

/** A backend that refuses each append with the event "bad", and stores nothing of it. */
class Refusing extends MemoryBackend {
  failing: MillraceError | null = null

  override async append(channel: string, items: readonly AppendItem[]): Promise<Appended[]> {
    if (this.failing !== null) throw this.failing
    if (items.some(({ event }) => event.id === 'bad')) throw new MillraceError('INVALID_EVENT', 'a bad event', {})
    return super.append(channel, items)
  }
}

describe('an event that the servers refuse', () => {
  const once = (id: string): AppendItem => ({ ...item(id), dedupeId: id })

  async function refusing(): Promise<{ backend: Refusing; appenders: Appenders; ids(): Promise<string[]> }> {
    const backend = new Refusing(new MemoryServer())
    await backend.createChannel({ format: 1, incarnation: 'a', spec: stream('orders').spec, partitions: 1 })
    return {
      backend,
      appenders: new Appenders({ backend, clock: systemClock, appended: () => undefined, unknown: () => undefined }),
      ids: async () => (await backend.read('orders', 0, 0, { count: 100, bytes: 1e6 })).map(({ event }) => event.id),
    }
  }

  test('fails its own caller, and nobody who published in the same turn', async () => {
    const { appenders, ids } = await refusing()
    const orders = appenders.of('orders')
    const results = await Promise.allSettled([
      orders.appendOne(once('a')),
      orders.appendOne(once('bad')),
      orders.append([once('b'), once('c')], false),
    ])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    expect(await ids()).toEqual(['a', 'b', 'c'])
    await appenders.close()
  })

  test('is dropped alone from the emissions of a handler; a failure of the server drops none', async () => {
    const { backend, appenders, ids } = await refusing()
    const alarms: unknown[] = []
    const closed = new AbortController()
    backend.failing = new MillraceError('STORE_FAILED', 'the server failed', {})
    await sendOn(
      ['a', 'bad', 'b'].map((id) => ({ channel: 'orders', event: once(id).event, dueAtMs: null })),
      {
        ...{ closed: closed.signal, clock: systemClock },
        store: async (channel, run) => {
          await appenders.of(channel).append(
            run.map(({ event }) => once(event.id)),
            false,
          )
        },
        alarm: (error) => {
          alarms.push(error)
          if (alarms.length === 2) backend.failing = null
        },
      },
    )
    expect(await ids()).toEqual(['a', 'b'])
    expect(alarms).toMatchObject(
      ['STORE_FAILED', 'STORE_FAILED', 'INVALID_EVENT', 'INVALID_EVENT'].map((code) => ({ code })),
    )
    await appenders.close()
  })
})
