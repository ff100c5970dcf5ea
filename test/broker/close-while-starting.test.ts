import { connect, consumer, type Running, stream } from 'millrace'
import { expect, it } from 'vitest'

it('a broker that a handler closes before start() has returned stops that consumer too', async () => {
  const broker = await connect('memory:')
  const greetings = stream('greetings')
  await broker.publish(greetings, { type: 'greeting', data: 'hello' })
  let starting: Promise<Running> | undefined
  await new Promise<void>((handled) => {
    starting = broker.start(consumer('greeter', greetings).onAny(() => handled()))
  })
  await broker.close()
  expect(await (await starting)?.done).toMatchObject({ completed: 1 })
})
