/** One of several processes on a directory: publishes its share and handles what arrives, as its parent says. */
import { createHmac } from 'node:crypto'
import { connect, consumer } from 'millrace'
import { cartItem, cartStream, ItemAdded, SOURCE } from './events.ts'

interface Share {
  readonly directory: string
  /** The ranges of its events, from the first to after the last: for warming up, and for the measurement. */
  readonly warmup: readonly [from: number, to: number]
  readonly measured: readonly [from: number, to: number]
  readonly inFlight: number
  /** Its handler signs each event ten times, as webhooks are signed. */
  readonly signs: boolean
}

const { directory, warmup, measured, inFlight, signs } = JSON.parse(process.argv[2] ?? '{}') as Share
const carts = cartStream()
const broker = await connect(`file:${directory}`, { source: SOURCE })
const lines: number[] = []
const running = await broker.start(
  consumer('consumer', carts, { concurrency: 1000 }).on(ItemAdded, ({ data }) => {
    if (signs)
      for (let times = 0; times < 10; times++)
        createHmac('sha256', 'secret').update(JSON.stringify(data)).digest('base64')
    lines.push(data.line)
  }),
)
process.on('message', (message: 'warm' | 'publish' | 'tell' | 'stop') => void answer(message))
process.send?.('ready')

async function answer(message: 'warm' | 'publish' | 'tell' | 'stop'): Promise<void> {
  if (message === 'warm' || message === 'publish') {
    const [from, to] = message === 'warm' ? warmup : measured
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
