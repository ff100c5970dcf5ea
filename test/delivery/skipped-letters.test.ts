/**
 * Letters that later events of their key have passed (`skip`): deliveries that are in flight when the letters are
 * redriven.
 */
import { expect, it } from 'vitest'
import { connect, consumer, event, stream } from '../../src/index.ts'

const Placed = event('placed')

it.each([1, 3])(
  'an event that is in flight when %i skipped letters of its key are redriven is handled once',
  async (letters) => {
    const broker = await connect('memory:', { logger: false })
    const orders = stream('orders', { events: [Placed], key: 'data.key' })
    const handled: string[] = []
    let open = (): void => undefined
    const gate = new Promise<void>((resolve) => {
      open = resolve
    })
    await broker.start(
      consumer('worker', orders, { onDead: 'skip', retry: { attempts: 1 } }).on(Placed, async ({ data }, ctx) => {
        const { n } = data as { readonly n: number }
        if (n < letters && !ctx.redriven) throw new Error('not now')
        if (n === letters) await gate
        handled.push(`${n}${ctx.redriven ? ' redriven' : ''}`)
      }),
    )
    const count = letters + 3
    await broker.publish(
      orders,
      Array.from({ length: count }, (_, n) => Placed({ key: 'k', n })),
    )
    await expect.poll(async () => (await broker.deadLetters('worker').list()).length).toBe(letters)
    expect(await broker.deadLetters('worker').redrive()).toBe(letters)
    // The letters are in their chain before the event in flight is completed.
    await broker.publish(orders, Placed({ key: 'other', n: count }))
    await expect.poll(() => handled).toContain(`${count}`)
    open()
    await expect.poll(() => handled.length).toBeGreaterThanOrEqual(count + 1)
    await broker.close()
    const numbers = handled.map((each) => Number.parseInt(each, 10))
    expect(numbers.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count + 1 }, (_, n) => n))
    expect(handled.filter((each) => each.endsWith('redriven')).map((each) => Number.parseInt(each, 10))).toEqual(
      expect.arrayContaining(Array.from({ length: letters }, (_, n) => n)),
    )
  },
)
