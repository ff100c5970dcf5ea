/** Ids that are longer than an entry of an index of Postgres: stored once, and no danger to other events. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { postgresKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { type Broker, connect, consumer, event, stream } from '../../src/index.ts'
import { kindOf } from './servers.ts'

const kind = kindOf('postgres', () => postgresKind())
const Noted = event('noted')
const from = stream('from', { events: [Noted] })
const notes = stream('notes', { events: [Noted] })
const latest = stream('latest', { events: [Noted], key: 'data.key', retain: { latestByKey: true } })

/** 4,096 characters that do not compress. */
const longId = (): string => randomBytes(3072).toString('base64')

describe.skipIf(kind === undefined)('an id of 4,096 characters on Postgres', () => {
  let server: Server
  let broker: Broker

  beforeAll(async () => {
    if (kind === undefined) return
    server = await Server.start(kind)
    broker = await connect(server.url)
    await broker.declare(notes)
  })
  afterAll(async () => {
    await broker?.close()
    await server?.stop()
  })

  const idsIn = async (channel: typeof notes): Promise<string[]> => {
    const ids: string[] = []
    for await (const { id } of broker.read(channel)) ids.push(id)
    return ids
  }

  it('is stored once, also where events are replaced by later ones of their key', async () => {
    for (const channel of [notes, latest]) {
      const id = longId()
      expect(await broker.publish(channel, Noted({ key: 'k', n: 1 }, { id }))).toMatchObject({ duplicate: false })
      await broker.publish(channel, Noted({ key: 'k', n: 2 }))
      expect(await broker.publish(channel, Noted({ key: 'k', n: 3 }, { id }))).toMatchObject({ duplicate: true })
    }
    expect(await idsIn(latest)).toHaveLength(1)
  })

  it('takes no emissions with it that are stored at the same time, and is emitted itself', async () => {
    const [long, other] = [longId(), longId()]
    await broker.start(
      consumer('emitter', from).on(Noted, async (_event, ctx) => {
        await ctx.emit(notes, Noted({ n: 1 }, { id: 'e-1' }))
        await ctx.emit(notes, Noted({ n: 2 }, { id: long }))
        await ctx.emit(notes, Noted({ n: 3 }, { id: 'e-3' }))
      }),
    )
    await broker.publish(from, Noted({}))
    await Promise.all(
      Array.from({ length: 20 }, (_, n) => broker.publish(notes, Noted({ n }, { id: `${n}${other}`.slice(0, 4096) }))),
    )
    await expect.poll(() => idsIn(notes), { timeout: 10_000 }).toEqual(expect.arrayContaining(['e-1', long, 'e-3']))
  })
})
