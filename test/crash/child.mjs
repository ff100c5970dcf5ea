/**
 * The process that the crash test kills: it publishes, consumes, emits, delays and retries, and records what it sees in
 * a ledger that survives it (appended synchronously; the page cache outlives a killed process).
 *
 * node child.mjs DIRECTORY LEDGER RUN work|drain
 */
import { appendFileSync, openSync } from 'node:fs'
import { connect, consumer, event, stream } from '../../dist/index.js'

const [directory, ledger, run, mode] = process.argv.slice(2)
const fd = openSync(ledger, 'a')
const note = (what, fields) =>
  appendFileSync(fd, `${JSON.stringify({ run: Number(run), what, at: Date.now(), ...fields })}\n`)

const Work = event('work')
const Out = event('out')
const work = stream('work', { events: [Work], key: (e) => e.data.key })
const out = stream('out', { events: [Out] })

const broker = await connect(`file:${directory}`)
const worker = consumer('worker', work, { concurrency: 24, retry: { attempts: 100, min: 1, max: 8 } }).on(
  Work,
  async ({ data, id }, ctx) => {
    note('begin', { key: data.key, id, offset: ctx.offset, attempt: ctx.attempt })
    if (Math.random() < 0.3) await new Promise((resolve) => setTimeout(resolve, Math.random() * 4))
    if (Math.random() < 0.05) throw new Error('by chance')
    await ctx.emit(out, Out({ of: id }), Math.random() < 0.1 ? { delay: 3 } : undefined)
    note('done', { key: data.key, id, offset: ctx.offset })
  },
)
const running = await broker.start(worker)
note('open', {})
process.stdout.write('ready\n')

if (mode === 'work') {
  const publisher = async () => {
    for (;;) {
      const made = Work({ key: `k-${Math.floor(Math.random() * 12)}` })
      const later = Math.random() < 0.05
      note('sent', { id: made.id })
      const receipt = later ? await broker.publish(work, made, { delay: 5 }) : await broker.publish(work, made)
      note('acked', { id: made.id, offset: receipt.offset })
      if (Math.random() < 0.5) await new Promise((resolve) => setTimeout(resolve, Math.random() * 3))
    }
  }
  await Promise.all(Array.from({ length: 8 }, publisher))
}
for (;;) {
  const { channels, consumers } = await broker.describe()
  const idle = consumers.every((each) => each.inFlight === 0 && each.channels.every((channel) => channel.lag === 0))
  if (idle && channels.every((channel) => channel.scheduled === 0)) break
  await new Promise((resolve) => setTimeout(resolve, 20))
}
await running.stop()
await broker.close()
note('closed', {})
