/**
 * The cost of 10,000 channels and 1,000 consumers that have nothing to do: processor time and memory, compared with a
 * broker without them.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { consumer } from 'millrace'
import type { Case, Figures, Params, Row } from '../case.ts'
import { cartItem, cartStream, ItemAdded } from '../events.ts'
import { publishAll, rate } from '../load.ts'
import { MILLRACE } from '../loads.ts'
import { MillraceSystem } from '../millrace.ts'
import type { OpenSystem, Setting } from '../system.ts'

async function measure(
  _open: OpenSystem,
  setting: Setting,
  { channels = 0, consumers = 0, seconds = 1, events = 0 }: Params,
): Promise<Figures> {
  const system = await MillraceSystem.open(setting)
  const began = performance.now()
  const streams = Array.from({ length: channels }, (_, at) => cartStream(`carts-${at}`))
  if (streams.length > 0) await system.broker.declare(...streams)
  let handled = 0
  for (let at = 0; at < consumers; at++) {
    const handler = async (): Promise<void> => {
      handled++
    }
    await system.broker.start(
      consumer(`consumer-${at}`, streams[at % channels] as ReturnType<typeof cartStream>).on(ItemAdded, handler),
    )
  }
  // One event each, to show that every consumer works.
  await Promise.all(
    Array.from({ length: consumers }, (_, at) =>
      system.broker.publish(streams[at % channels] as ReturnType<typeof cartStream>, ItemAdded(cartItem(at))),
    ),
  )
  while (handled < consumers) await sleep(5)
  const setupMs = performance.now() - began
  await sleep(1000 * Math.min(2, seconds))
  const before = process.cpuUsage()
  const start = performance.now()
  await sleep(seconds * 1000)
  const { user, system: kernel } = process.cpuUsage(before)
  const cpuPercent = (user + kernel) / 10 / (performance.now() - start)
  const rssMb = process.memoryUsage.rss() / 2 ** 20
  const publishing = performance.now()
  await publishAll(system, 1000, 0, events)
  const published = rate(events, publishing)
  await system.close()
  return { setupMs, cpuPercent, rssMb, published }
}

export const idle: Case = {
  name: 'idle',
  title: 'Idle channels and consumers',
  measure,
  async run(bench) {
    const [channels, consumers] = [bench.events(10_000), bench.events(1000)]
    const common = { seconds: bench.quick ? 0.2 : 10, events: bench.events(200_000) }
    const none = await bench.measure('idle', MILLRACE, { channels: 0, consumers: 0, ...common })
    const many = await bench.measure('idle', MILLRACE, { channels, consumers, ...common })
    const text = `${channels.toLocaleString('en')} channels, ${consumers.toLocaleString('en')} consumers`
    const figure = (figures: Figures, name: string): number => figures[name] ?? Number.NaN
    const row = (load: string, figures: Figures, name: string, unit: string): Row => ({
      load,
      subject: MILLRACE,
      value: figure(figures, name),
      unit,
    })
    const cpu = { of: '% of a processor', measured: figure(many, 'cpuPercent'), required: 1, sense: 'at most' as const }
    const speed = {
      of: 'of the rate without them',
      measured: figure(many, 'published') / figure(none, 'published'),
      required: 0.8,
      sense: 'at least' as const,
    }
    return [
      row('no channel, no consumer', none, 'cpuPercent', '% CPU'),
      {
        ...row(text, many, 'cpuPercent', '% CPU'),
        checks: [cpu],
        note: `made and first used in ${Math.round(figure(many, 'setupMs'))} ms`,
      },
      row('no channel, no consumer', none, 'rssMb', 'MB'),
      row(text, many, 'rssMb', 'MB'),
      row('no channel, no consumer', none, 'published', 'events/s'),
      { ...row(text, many, 'published', 'events/s'), checks: [speed], note: 'publishing to one more channel' },
    ]
  },
}
