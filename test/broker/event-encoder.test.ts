/** A channel whose declaration is read again stays usable meanwhile, for callers that are about to encode for it. */
import { expect, test } from 'vitest'
import { MillraceError } from '../../src/base/errors.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { EventEncoder } from '../../src/broker/event-encoder.ts'
import type { ChannelSpec } from '../../src/channel/channel.ts'
import { stream } from '../../src/index.ts'

const notes = stream('notes')

interface Asked {
  resolve(spec?: ChannelSpec): void
  reject(error: Error): void
}

/** An engine that answers when the test says so. */
function encoder(): { readonly encoder: EventEncoder; readonly asked: Asked[] } {
  const asked: Asked[] = []
  const answer = (): Promise<ChannelSpec | undefined> =>
    new Promise((resolve, reject) => asked.push({ resolve, reject }))
  const engine = { declare: answer, channel: answer, describe: async () => ({ channels: [] }) }
  return { encoder: new EventEncoder(engine as unknown as Engine, '/test'), asked }
}

test.each([
  ['by its definition', notes],
  ['by its name', 'notes'],
] as const)('%s: encoding goes on while it is looked at again', async (_, channel) => {
  const { encoder: encoding, asked } = encoder()
  const prepared = encoding.prepare(channel)
  asked[0]?.resolve(notes.spec)
  await prepared
  const renewed = encoding.renew(channel)
  expect(encoding.isReady(channel)).toBe(true)
  expect(encoding.encode('notes', { type: 'noted', data: 1 })).toMatchObject({ type: 'noted' })
  asked[1]?.resolve(notes.spec)
  await renewed
  expect(encoding.encode('notes', { type: 'noted', data: 2 })).toMatchObject({ type: 'noted' })
})

test('a channel that cannot be declared again is not ready, and encoding for it says that it is not there', async () => {
  const { encoder: encoding, asked } = encoder()
  const prepared = encoding.prepare(notes)
  asked[0]?.resolve()
  await prepared
  const renewed = encoding.renew(notes)
  asked[1]?.reject(new MillraceError('CHANNEL_CONFLICT', 'another kind'))
  await expect(renewed).rejects.toMatchObject({ code: 'CHANNEL_CONFLICT' })
  expect(encoding.isReady(notes)).toBe(false)
  expect(() => encoding.encode('notes', { type: 'noted' })).toThrow(
    expect.objectContaining({ code: 'UNKNOWN_CHANNEL' }),
  )
})
