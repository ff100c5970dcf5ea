/** A store that fails while it is closed: the engine's other resources are released. */
import { expect, it } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { memoryCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { EmbeddedEngine } from '../../src/engines/embedded/embedded-engine.ts'
import { MemoryStore } from '../../src/engines/embedded/storage/memory-store.ts'
import type { Block } from '../../src/event/block.ts'

it('a failed close releases the claim on the directory and rejects with the failure', async () => {
  let released = false
  const store = new MemoryStore<Block>()
  store.close = () => Promise.reject(new Error('the disk has gone'))
  const release = async (): Promise<void> => void (released = true)
  const engine = new EmbeddedEngine({
    name: 'file',
    capabilities: memoryCapabilities,
    store,
    clock: systemClock,
    release,
  })
  await expect(engine.close()).rejects.toThrow('the disk has gone')
  expect(released).toBe(true)
})
