/**
 * The time from `publish` to the handler's first line at a steady 1,000 events per second, in an open loop: each event
 * is due at a fixed time, whatever happened to earlier ones. The publish delay shows how late the load itself was, so
 * that a stalled publisher cannot hide behind a good latency.
 */
import type { Case, Check, Figures, Params, Row } from '../case.ts'
import { cartItem } from '../events.ts'
import { percentile, publishAll, Tally } from '../load.ts'
import { CEILING, MILLRACE, ratedRows } from '../loads.ts'
import type { OpenSystem, Setting, System } from '../system.ts'

const RATE = 1000

/** Publish each line when it is due; resolves when all are published. */
async function openLoop(
  system: System,
  begin: number,
  end: number,
  perSecond: number,
  sent: (line: number, due: number) => void,
): Promise<void> {
  const published: Promise<unknown>[] = []
  const start = performance.now()
  for (let line = begin; line < end; ) {
    const due = start + ((line - begin) / perSecond) * 1000
    if (performance.now() < due) {
      await new Promise((resolve) => setTimeout(resolve, 1))
      continue
    }
    sent(line, due)
    published.push(system.publish(cartItem(line)))
    line++
  }
  await Promise.all(published)
}

async function measure(
  open: OpenSystem,
  setting: Setting,
  { warmup = 0, events = 0, rate = RATE }: Params,
): Promise<Figures> {
  const system = await open(setting)
  const total = warmup + events
  const tally = new Tally(total)
  const sentAt = new Float64Array(total)
  const delay = new Float64Array(total)
  const latency = new Float64Array(total)
  const consuming = await system.consume('consumer', async ({ line }) => {
    latency[line] = performance.now() - (sentAt[line] as number)
    tally.add(line)
  })
  const half = warmup >> 1
  await publishAll(system, 1000, 0, half)
  const sent = (line: number, due: number): void => {
    const now = performance.now()
    sentAt[line] = now
    delay[line] = now - due
  }
  await openLoop(system, half, total, rate, sent)
  await tally.complete()
  await consuming.settle()
  await system.close()
  const [latencies, delays] = [latency.subarray(warmup), delay.subarray(warmup)]
  return {
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    p999Ms: percentile(latencies, 0.999),
    maxMs: percentile(latencies, 1),
    delayP50Ms: percentile(delays, 0.5),
    delayP99Ms: percentile(delays, 0.99),
  }
}

export const latency: Case = {
  name: 'latency',
  title: 'Publish → handler at 1,000 events a second, open loop',
  measure,
  async run(bench) {
    const events = bench.events(10_000)
    const subjects = [CEILING, MILLRACE, ...bench.peers.map(({ name }) => name)]
    const measured = await bench.compare(
      'latency',
      subjects.map((subject) => [subject, { events, warmup: Math.min(events, 4000), rate: RATE, inFlight: 1000 }]),
    )
    const mine = (figure: string): number => measured.get(MILLRACE)?.figure(figure) ?? Number.NaN
    const p50: Check = { of: 'ms', measured: mine('p50Ms'), required: 2, sense: 'at most' }
    const p99: Check = { of: 'ms', measured: mine('p99Ms'), required: 10, sense: 'at most' }
    const rows: Row[] = [
      ...ratedRows('p50', measured, 'p50Ms', 'ms', [p50]),
      ...ratedRows('p99', measured, 'p99Ms', 'ms', [p99]),
      ...ratedRows('p99.9', measured, 'p999Ms', 'ms', []),
    ]
    return [
      ...rows,
      ...ratedRows('publish delay, p50', measured, 'delayP50Ms', 'ms', []),
      ...ratedRows('publish delay, p99', measured, 'delayP99Ms', 'ms', []),
    ]
  },
}
