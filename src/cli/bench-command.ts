/** `millrace bench`: measures this machine for a few seconds, with every commit synced. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MillraceError } from '../base/errors.ts'
import type { Broker } from '../broker/broker.ts'
import { stream } from '../channel/channel.ts'
import { consumer } from '../consumer/consumer.ts'
import { event } from '../event/event.ts'
import { connect } from '../index.ts'
import { complete, print, printJson, table } from './output.ts'

export interface BenchCommandOptions {
  readonly seconds: string
  readonly folder?: string
  readonly json?: boolean
}

const Measured = event('bench.measured')
const events = stream('bench', { events: [Measured] })

interface Row {
  readonly inFlight: number
  readonly publishesPerSecond: number
  readonly handledPerSecond: number
}

export async function benchCommand(options: BenchCommandOptions): Promise<void> {
  const seconds = /^\d{1,6}(?:\.\d{1,6})?$/.test(options.seconds) ? Number(options.seconds) : 0
  if (seconds === 0)
    throw new MillraceError(
      'INVALID_OPTION',
      `--seconds must be a number above 0; it is "${options.seconds.slice(0, 40)}"`,
      { option: 'seconds' },
    )
  const folder = await mkdtemp(join(options.folder ?? tmpdir(), 'millrace-bench-'))
  const rows: Row[] = []
  try {
    for (const inFlight of [1, 64, 1000]) {
      const broker = await connect(`file:${join(folder, String(inFlight))}`)
      rows.push(await measure(broker, inFlight, seconds * 1000))
      await broker.close()
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
  if (options.json === true) printJson(rows)
  else
    print(
      table(
        ['in flight', 'published/s', 'handled/s'],
        rows.map((row) => [row.inFlight, row.publishesPerSecond, row.handledPerSecond]),
      ),
    )
  complete('measured with every commit synced, in one process', options)
}

async function measure(broker: Broker, inFlight: number, forMs: number): Promise<Row> {
  let handled = 0
  const running = await broker.start(
    consumer('bench', events, { concurrency: inFlight }).on(Measured, () => void handled++),
  )
  let published = 0
  const begin = performance.now()
  const publish = async (): Promise<void> => {
    while (performance.now() - begin < forMs) {
      await broker.publish(events, Measured({ customer: 'c-12345', item: 'tea', quantity: published++ }))
    }
  }
  await Promise.all(Array.from({ length: inFlight }, publish))
  const seconds = (performance.now() - begin) / 1000
  const summary = {
    inFlight,
    publishesPerSecond: Math.round(published / seconds),
    handledPerSecond: Math.round(handled / seconds),
  }
  await running.stop()
  return summary
}
