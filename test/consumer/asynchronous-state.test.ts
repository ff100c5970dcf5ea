import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { consumer, event, stream } from '../../src/index.ts'
import { type TestBroker, testBroker } from '../../src/testing/index.ts'

const Asked = event('asked', z.object({ what: z.string() }))
const asked = stream('asked', { events: [Asked], key: 'data.what' })

const turns = async (count: number): Promise<void> => {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** A large number takes longer; a Date reads back as text. */
const schema = z.object({ n: z.number(), at: z.union([z.date(), z.string()]).optional() }).refine(async ({ n, at }) => {
  await turns(n)
  return typeof at !== 'string' || !at.startsWith('2000')
}, 'not in 2000')

describe('a state whose schema is asynchronous', () => {
  let broker: TestBroker
  beforeEach(() => {
    broker = testBroker()
  })
  afterEach(() => broker.close())

  type State = z.infer<typeof schema>
  interface Ctx {
    readonly state: State
    setState(next: State): void
    deleteState(): void
  }

  const handled = async (handler: (ctx: Ctx) => Promise<void> | void) => {
    const of = consumer('memory', asked, { state: { schema, initial: { n: 0 } }, retry: { attempts: 1 } }).on(
      Asked,
      (_, ctx) => handler(ctx),
    )
    await broker.start(of)
    await broker.publish(asked, Asked({ what: 'k' }))
    await broker.settled()
    return { value: (await broker.table(of).get('k'))?.value, letters: await broker.deadLetters(of).list() }
  }

  it('is what was set last, however long each judgement takes', async () => {
    const { value } = await handled((ctx) => {
      ctx.setState({ n: 9 })
      ctx.setState({ n: 1 })
    })
    expect(value).toEqual({ n: 1 })
  })

  it('is deleted by the last call', async () => {
    let seen: unknown = null
    const { value } = await handled(async (ctx) => {
      ctx.setState({ n: 2 })
      ctx.deleteState()
      await turns(9)
      seen = ctx.state
    })
    expect(value).toBeUndefined()
    expect(seen).toEqual({ n: 0 })
  })

  it('is set after it was deleted', async () => {
    const { value } = await handled((ctx) => {
      ctx.deleteState()
      ctx.setState({ n: 3 })
    })
    expect(value).toEqual({ n: 3 })
  })

  it('is refused when what is stored cannot be read again, and nothing is stored', async () => {
    const { value, letters } = await handled((ctx) => ctx.setState({ n: 1, at: new Date('2000-01-01T00:00:00Z') }))
    expect(value).toBeUndefined()
    expect(letters.map(({ failure }) => failure.message)).toEqual([expect.stringContaining('not in 2000')])
  })

  it('in a batch, an event sees and stores what was set last', async () => {
    const got: unknown[] = []
    const of = consumer('batch', asked, { state: { schema, initial: { n: 0 } }, concurrency: 2 }).onBatch(
      Asked,
      { size: 2, wait: '1s', by: 'key' },
      async (_, contexts) => {
        const [first, second] = contexts as unknown as readonly [Ctx, Ctx]
        first.setState({ n: 8 })
        second.setState({ n: 1 })
        await turns(20)
        got.push(second.state)
      },
    )
    await broker.publish(asked, [Asked({ what: 'k' }), Asked({ what: 'k' })])
    await broker.start(of)
    await broker.advance('2s')
    expect(got).toEqual([{ n: 1 }])
    expect((await broker.table(of).get('k'))?.value).toEqual({ n: 1 })
  })
})
