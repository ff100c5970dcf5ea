/** Ids of events: which are checked only once, and which every time. */
import { beforeEach, expect, test, vi } from 'vitest'

beforeEach(() => vi.resetModules())

test('before any id was made, none is the newest: an empty one is refused as any other', async () => {
  const { isNewest, newId } = await import('../../src/event/identity.ts')
  const { encodeEvent } = await import('../../src/event/encode.ts')
  expect(isNewest('')).toBe(false)
  expect(() => encodeEvent({ type: 'a.b', id: '' }, null, '/test', 1000)).toThrow('id must not be empty')
  const id = newId()
  expect([isNewest(id), isNewest('')]).toEqual([true, false])
})
