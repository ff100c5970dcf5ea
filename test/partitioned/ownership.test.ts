/** The end of an ownership: what gives a partition back writes nothing beside its last entry, and leaves nobody waiting. */
import { expect, it } from 'vitest'
import { fold } from '../../src/partitioned/journal-entry.ts'
import { Ownership } from '../../src/partitioned/ownership.ts'
import { MemoryBackend, MemoryServer } from './memory-backend.ts'

const JOURNAL = 'worker/orders/0'

it('what is asked for while the last entry is being written is answered, and is not written beside it', async () => {
  const alarms: unknown[] = []
  let appends = 0
  class Slow extends MemoryBackend {
    override async appendJournal(id: string, expected: number, entry: Uint8Array): Promise<number> {
      appends++
      await new Promise((resolve) => setTimeout(resolve, 20))
      return super.appendJournal(id, expected, entry)
    }
  }
  const backend = new Slow(new MemoryServer())
  const host = { backend, member: 'me', send: async () => undefined, lost: () => alarms.push('lost'), alarm: (error: unknown) => alarms.push(error) }
  const ownership = (await Ownership.claim(JOURNAL, host, () => true)) as Ownership
  ownership.write('a', Buffer.from('{}'))
  const releasing = ownership.release()
  await expect.poll(() => appends, { interval: 1 }).toBe(3)
  const late = [ownership.flushed(), ownership.flushed()]
  ownership.write('b', Buffer.from('{}'))
  await Promise.all([releasing, ...late])
  await expect(ownership.flushed()).rejects.toThrow()
  const state = fold((await backend.readJournal(JOURNAL)).entries)
  expect([state.owner, state.released, [...state.records.keys()], alarms]).toEqual(['me', true, ['a'], []])
})
