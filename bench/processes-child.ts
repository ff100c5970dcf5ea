/** One of several processes on a directory: publishes its share and handles what comes, as told by its parent. */
import { connect, consumer } from 'millrace'
import { cartItem, cartStream, ItemAdded, SOURCE } from './events.ts'

interface Share {
  readonly directory: string
  readonly from: number
  readonly to: number
  readonly inFlight: number
}

const { directory, from, to, inFlight } = JSON.parse(process.argv[2] ?? '{}') as Share
const carts = cartStream()
const broker = await connect(`file:${directory}`, { source: SOURCE })
const lines: number[] = []
const running = await broker.start(consumer('consumer', carts, { concurrency: 1000 }).on(ItemAdded, ({ data }) => void lines.push(data.line)))
process.on('message', (message: 'publish' | 'tell' | 'stop') => void answer(message))
process.send?.('ready')

async function answer(message: 'publish' | 'tell' | 'stop'): Promise<void> {
  if (message === 'publish') {
    let next = from
    const slot = async (): Promise<void> => {
      while (next < to) await broker.publish(carts, ItemAdded(cartItem(next++)))
    }
    await Promise.all(Array.from({ length: inFlight }, slot))
    process.send?.('published')
  } else if (message === 'tell') process.send?.(lines.length)
  else {
    await running.stop()
    await broker.close()
    process.send?.(lines, () => process.exit())
  }
}
