/** A failure while events are appended is told to the callers, and later events go out. */
import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import type { Appended, AppendItem } from '../../src/external-log/log-backend.ts'
import { Appenders } from '../../src/external-log/publish/appending.ts'
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
