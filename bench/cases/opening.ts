/** Opening a directory with five million events: after a clean close, and after SIGKILL during publishing. */
import type { Case, Figures, Params, Row } from '../case.ts'
import { median, publishAll } from '../load.ts'
import { MILLRACE } from '../loads.ts'
import { MillraceSystem } from '../millrace.ts'
import type { OpenSystem, Setting } from '../system.ts'
import { fill } from './filling.ts'

const FILL = 0
const OPEN = 1
const CRASH = 2

async function measure(_open: OpenSystem, setting: Setting, { step = FILL, events = 0 }: Params): Promise<Figures> {
  const start = performance.now()
  const system = await MillraceSystem.open(setting)
  if (step === FILL) {
    await fill(system, 0, events)
    await system.close()
    return {}
  }
  const openMs = performance.now() - start
  const { first, next } = await system.broker.channel(system.carts).bounds()
  const firstMs = await firstPublish(system, start)
  if (step === CRASH) {
    await publishAll(system, 1000, 0, Math.min(200_000, events))
    // Nothing is closed: the next opening must handle what is in the journal and not in LMDB.
    process.send?.({ openMs, firstMs, stored: next - first }, () => process.kill(process.pid, 'SIGKILL'))
    return new Promise(() => {})
  }
  await system.close()
  return { openMs, firstMs, stored: next - first }
}

/** Milliseconds from the start to the first durable event. */
async function firstPublish(system: MillraceSystem, start: number): Promise<number> {
  await publishAll(system, 1, 0, 1)
  return performance.now() - start
}

export const opening: Case = {
  name: 'opening',
  title: 'Opening a directory that holds events',
  measure,
  async run(bench) {
    const events = bench.events(5_000_000)
    const directory = bench.directory()
    const step = (step: number): Promise<Figures> => bench.measure('opening', MILLRACE, { step, events }, directory)
    await step(FILL)
    const clean: Figures[] = []
    const crashed: Figures[] = []
    for (let round = 0; round < bench.rounds; round++) {
      clean.push(await step(OPEN))
      await step(CRASH)
      crashed.push(await step(OPEN))
    }
    bench.remove(directory)
    for (const { stored = 0 } of [...clean, ...crashed])
      if (!(stored >= events)) throw new Error(`${stored} events were found where ${events} were stored`)
    return [
      ...rowsOf(`${events.toLocaleString('en')} events, closed`, clean),
      ...rowsOf(`${events.toLocaleString('en')} events, SIGKILL`, crashed),
    ]
  },
}

function rowsOf(load: string, all: readonly Figures[]): Row[] {
  const of = (name: string): number[] => all.map((figures) => figures[name] ?? Number.NaN)
  const opened = median(of('openMs'))
  return [
    {
      load,
      subject: MILLRACE,
      value: opened,
      unit: 'ms',
      rounds: of('openMs'),
      checks: [{ of: 'ms', measured: opened, required: 1000, sense: 'at most' }],
      note: `first event durable after ${Math.round(median(of('firstMs')))} ms, ${Math.round(median(of('stored'))).toLocaleString('en')} events in it`,
    },
  ]
}
