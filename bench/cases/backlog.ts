/** A backlog of a million events, published without a consumer and then read by a consumer that starts late. */
import type { Case, Figures, Params } from '../case.ts'
import { publishAll, rate, Tally } from '../load.ts'
import { MILLRACE } from '../loads.ts'
import type { OpenSystem, Setting } from '../system.ts'

async function measure(open: OpenSystem, setting: Setting, { events = 0, inFlight = 1000 }: Params): Promise<Figures> {
  const system = await open(setting)
  const tally = new Tally(events)
  const begun = performance.now()
  await publishAll(system, inFlight, 0, events)
  const published = rate(events, begun)
  const start = performance.now()
  const consuming = await system.consume('late', async ({ line }) => tally.add(line))
  await tally.complete()
  await consuming.settle()
  const drained = rate(events, start)
  await system.close()
  tally.check()
  return { published, drained }
}

export const backlog: Case = {
  name: 'backlog',
  title: 'A backlog: published, then drained',
  measure,
  async run(bench) {
    const events = bench.events(1_000_000)
    const measured = (await bench.compare('backlog', [[MILLRACE, { events, inFlight: 1000 }]])).get(MILLRACE)
    if (measured === undefined) return []
    const [published, drained] = [measured.figure('published'), measured.figure('drained')]
    const load = `${events.toLocaleString('en')} events`
    return [
      { load, subject: 'millrace, publish', value: published, unit: 'events/s', rounds: measured.all('published') },
      {
        load,
        subject: 'millrace, drain',
        value: drained,
        unit: 'events/s',
        rounds: measured.all('drained'),
        checks: [{ of: '× publishing', measured: drained / published, required: 1, sense: 'at least' }],
      },
    ]
  },
}
