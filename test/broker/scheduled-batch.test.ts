/**
 * The id of a delayed event is known to a batch as to a single publish (clause 8): several publishes of one turn are
 * sent to a server as a batch.
 */
import { expect, it } from 'vitest'
import { connect, event, stream } from '../../src/index.ts'

const Placed = event('placed')
const orders = stream('orders', { events: [Placed] })

it('a batch stores what is new, and says what waits already', async () => {
  await using broker = await connect('memory:')
  await broker.publish(orders, Placed({}, { id: 'later' }), { delay: '1h' })
  const receipts = await broker.publish(orders, [
    Placed({}, { id: 'early' }),
    Placed({}, { id: 'later' }),
    Placed({}, { id: 'zulu' }),
  ])
  expect(receipts.map(({ id, duplicate }) => [id, duplicate])).toEqual([
    ['early', false],
    ['later', true],
    ['zulu', false],
  ])
  const stored: string[] = []
  for await (const { id } of broker.read(orders)) stored.push(id)
  expect(stored).toEqual(['early', 'zulu'])
})
