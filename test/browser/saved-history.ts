/** A month of figures, saved as a gateway saves them, for the tests of charts. */
import type { Broker } from '../../src/index.ts'
import { figuresOf, type ObjectKind, type Row, STEPS, type StepName } from '../../src/metrics-history/figures.ts'
import { savedSlot } from '../../src/metrics-history/saved-slot.ts'
import { METRICS_CHANNELS } from '../../src/metrics-history/saved-slots.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'

const random = seededRandom(7)
const BATCH = 1000

/** Busy at noon, quiet at night, with a peak of lag for a while each day, and no data for 20 minutes each day. */
function rowsAt(atMs: number, stepMs: number): Row[] | null {
  const hour = (atMs / 3_600_000) % 24
  const minutes = (atMs / 60_000) % 1440
  if (minutes > 700 && minutes < 720) return null
  const busy = 1.2 - Math.cos((hour / 12) * Math.PI)
  const noise = 0.8 + random() * 0.4
  const peak = Math.max(0, 1 - Math.abs((minutes % 180) - 60) / 25)
  const perSecond = 40 * busy * noise
  return [
    row('channel', 'orders', { published: (perSecond * stepMs) / 1000, bytes: 4e8 + 1e6 * hour, scheduled: 3 }),
    row('consumer', 'billing', {
      completed: (perSecond * (1 - 0.5 * peak) * stepMs) / 1000,
      retried: peak > 0.4 ? 12 * peak * (stepMs / 1000) : 0,
      lag: 2 + 900 * peak * noise,
      lagMs: 40 + 30_000 * peak * noise,
      inFlight: 6 * busy,
      retrying: 30 * peak,
      instances: 2,
      latencyP50: 9 * noise + 4000 * peak,
      latencyP95: 22 * noise + 9000 * peak,
      latencyP99: 60 * noise + 20_000 * peak,
      durationP50: 4 * noise,
      durationP95: 11 * noise,
      durationP99: 28 * noise + 100 * peak,
    }),
  ]
}

function row(kind: ObjectKind, name: string, figures: Readonly<Record<string, number>>): Row {
  return { kind, name, values: figuresOf(kind).map(([figure]) => figures[figure] ?? 0) }
}

export async function saveHistory(broker: Broker, nowMs: number): Promise<void> {
  await broker.declare(METRICS_CHANNELS.day, METRICS_CHANNELS.month)
  for (const step of ['day', 'month'] as const) await saveStep(broker, step, nowMs)
}

async function saveStep(broker: Broker, step: StepName, nowMs: number): Promise<void> {
  const { stepMs, slots } = STEPS[step]
  const newest = Math.floor(nowMs / stepMs) - 1
  const type = `millrace.metrics.${step}`
  for (let first = newest - slots + 1; first <= newest; first += BATCH) {
    const last = Math.min(newest, first + BATCH - 1)
    const events = Array.from({ length: last - first + 1 }, (_, index) => first + index).flatMap((slot) => {
      const rows = rowsAt(slot * stepMs, stepMs)
      return rows === null ? [] : [{ type, id: `${step}-${slot}`, data: savedSlot(slot, rows) }]
    })
    await broker.publish(METRICS_CHANNELS[step].name, events)
  }
}
