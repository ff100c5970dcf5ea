/** The end of an ownership: a release writes nothing beside its last entry, and leaves no call waiting. */
import { expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { fold } from '../../src/external-log/consumer-log/consumer-log-entry.ts'
import { lazyCommits, Ownership } from '../../src/external-log/ownership/ownership.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

const CONSUMER_LOG = 'worker/orders/0'

it('a call that comes while the last entry is being written is answered, and nothing is written beside the entry', async () => {
  const alarms: unknown[] = []
  let appends = 0
  class Slow extends MemoryBackend {
    override async appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number> {
      appends++
      await new Promise((resolve) => setTimeout(resolve, 20))
      return super.appendConsumerLog(id, expected, entry)
    }
  }
  const backend = new Slow(new MemoryServer())
  const host = {
    backend,
    clock: systemClock,
    lazily: lazyCommits(systemClock),
    member: 'me',
    send: async () => undefined,
    lost: () => alarms.push('lost'),
    alarm: (error: unknown) => alarms.push(error),
  }
  const ownership = (await Ownership.claim(CONSUMER_LOG, host, () => true)) as Ownership
  ownership.write('a', Buffer.from('{}'))
  const releasing = ownership.release()
  await expect.poll(() => appends, { interval: 1 }).toBe(3)
  const late = [ownership.flushed(), ownership.flushed()]
  ownership.write('b', Buffer.from('{}'))
  await Promise.all([releasing, ...late])
  await expect(ownership.flushed()).rejects.toThrow()
  const state = fold((await backend.readConsumerLog(CONSUMER_LOG)).entries)
  expect([state.owner, state.released, [...state.records.keys()], alarms]).toEqual(['me', true, ['a'], []])
})

it('a snapshot holds committed records only, so it never has a completion without its emissions', async () => {
  const prefixes: { readonly done: number; readonly emitted: number }[] = []
  let between: (() => void) | null = null
  class Watched extends MemoryBackend {
    override async appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number> {
      // What happens while an entry is on its way: it waits for the next.
      between?.()
      const version = await super.appendConsumerLog(id, expected, entry)
      const { records, outbox, emitted } = fold((await this.readConsumerLog(id)).entries)
      prefixes.push({
        done: Number((records.get('done') ?? '0').toString()),
        emitted: Math.max(emitted, outbox.length),
      })
      return version
    }
  }
  const backend = new Watched(new MemoryServer())
  const host = {
    backend,
    clock: systemClock,
    lazily: lazyCommits(systemClock),
    member: 'me',
    send: async () => undefined,
    lost: () => undefined,
    alarm: () => undefined,
  }
  const ownership = (await Ownership.claim(CONSUMER_LOG, host, () => true)) as Ownership
  let done = 0
  between = () => {
    if (done >= 1200) return
    done++
    ownership.write('done', Buffer.from(String(done)))
    ownership.emit([
      { channel: 'made', event: { id: `e-${done}`, type: 'made', key: null, text: '{}' }, dueAtMs: null },
    ])
  }
  ownership.write('begun', Buffer.from('{}'))
  await expect.poll(() => prefixes.at(-1)?.done, { timeout: 10_000 }).toBe(1200)
  await ownership.release()
  // Snapshots were taken: without any, all entries would be there.
  expect((await backend.readConsumerLog(CONSUMER_LOG)).entries.length).toBeLessThan(1000)
  expect(prefixes.filter((prefix) => prefix.done !== prefix.emitted)).toEqual([])
})

it('a release waits until every emission is sent on, and a lost ownership keeps no call waiting', async () => {
  const backend = new MemoryBackend(new MemoryServer())
  const sends: (() => void)[] = []
  const host = {
    backend,
    clock: systemClock,
    lazily: lazyCommits(systemClock),
    member: 'me',
    send: () => new Promise<void>((resolve) => sends.push(resolve)),
    lost: () => undefined,
    alarm: () => undefined,
  }
  const emission = { channel: 'made', event: { id: 'e', type: 'made', key: null, text: '{}' }, dueAtMs: null }
  const released = (await Ownership.claim('worker/orders/0', host, () => true)) as Ownership
  released.emit([emission])
  const releasing = released.release()
  await expect.poll(() => sends).toHaveLength(1)
  expect(fold((await backend.readConsumerLog('worker/orders/0')).entries).released).toBe(false)
  sends.pop()?.()
  await releasing
  expect(fold((await backend.readConsumerLog('worker/orders/0')).entries)).toMatchObject({ released: true, outbox: [] })

  const lost = (await Ownership.claim('worker/orders/1', host, () => true)) as Ownership
  lost.emit([emission])
  const sent = lost.sent()
  await expect.poll(() => sends).toHaveLength(1)
  let told = 0
  lost.onOver = () => void told++
  lost.abandon()
  await sent
  expect(told).toBe(1)
})
