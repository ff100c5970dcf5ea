/**
 * A process under a load of its own, to be killed: it publishes, handles and emits, and writes what it sees to the
 * ledger that all share, line by line.
 *
 * node --import tsx fault-child.ts URL LEDGER NAME
 */
import { appendFileSync, openSync } from 'node:fs'
import { connect, consumer, event, stream } from '../../src/index.ts'
import { HistoryRecorder } from '../../src/testing/history/recorder.ts'
import { machineMs } from './machine-clock.ts'

const [url = '', ledger = '', name = ''] = process.argv.slice(2)
const file = openSync(ledger, 'a')
const recorder = new HistoryRecorder({
  clock: machineMs,
  write: (line) => appendFileSync(file, line),
})

/** The number of keys of each lane. Every partition has some, so every owner has something to handle. */
const KEYS = 12
const Step = event('step')
const orders = stream('orders', { events: [Step], key: ({ data }) => (data as { key: string }).key })
const out = stream('out', { events: [Step] })

const broker = await connect(url)
await broker.declare(orders, out)
const worker = consumer('worker', orders, { concurrency: 8, lease: 1500, retry: { attempts: 1000, min: 5, max: 50 } })
await broker.start(
  worker.on(Step, async ({ data }, ctx) => {
    const { channel, key, offset, attempt, signal } = ctx
    const { value } = data as { value: string }
    const emitted = `${value}>${name}/${attempt}/${Math.random().toString(36).slice(2)}`
    await recorder.handle(
      { process: name, consumer: 'worker', channel, key, offset, value, attempt },
      async () => {
        recorder.note({
          action: 'emit',
          process: name,
          consumer: 'worker',
          cause: value,
          attempt,
          channel: 'out',
          key: null,
          value: emitted,
          slot: 'only',
        })
        await ctx.emit(out, Step({ value: emitted }))
      },
      signal,
    )
  }),
)
const lanes = Array.from({ length: 4 }, async (_, lane) => {
  for (let n = 0; ; n++) {
    const sent = {
      process: `${name}-${lane}`,
      channel: 'orders',
      key: `k-${name}-${lane}-${n % KEYS}`,
      value: `${name}-${lane}/${n}`,
    }
    await recorder.send(
      sent,
      () => broker.publish(orders, Step({ value: sent.value, key: sent.key })),
      () => true,
    )
  }
})
await Promise.all(lanes)
