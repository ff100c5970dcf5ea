/**
 * One of several processes on a directory: it publishes, consumes, emits and retries, and records what it sees in the
 * ledger that all share (appended synchronously, so that its lines are in the order in which things happened). SIGTERM
 * closes it as an application closes.
 *
 * node shared-child.mjs DIRECTORY LEDGER NAME work|drain
 */
import { appendFileSync, openSync } from 'node:fs'
import { connect, consumer, event, stream } from '../../dist/index.js'

const [directory, ledger, name, mode] = process.argv.slice(2)
const fd = openSync(ledger, 'a')
const note = (what, fields) => appendFileSync(fd, `${JSON.stringify({ by: name, what, at: Date.now(), ...fields })}\n`)

/**
 * How often this process measures for how long it was ready to run but got no processor. A takeover may take longer by
 * that time.
 */
const TICK_MS = 10
let lastMs = performance.now()
let lastUsage = process.cpuUsage()
setInterval(() => {
  const nowMs = performance.now()
  const { user, system } = process.cpuUsage(lastUsage)
  const gapMs = nowMs - lastMs - TICK_MS
  if (gapMs > 3 * TICK_MS) note('late', { gapMs, starvedMs: Math.max(0, gapMs - (user + system) / 1000) })
  lastMs = nowMs
  lastUsage = process.cpuUsage()
}, TICK_MS).unref()

const Work = event('work')
const Out = event('out')
const work = stream('work', { events: [Work], key: (e) => e.data.key })
const out = stream('out', { events: [Out] })

let closing = false
const broker = await connect(`file:${directory}`)
const worker = consumer('worker', work, { concurrency: 8, lease: '2s', retry: { attempts: 1000, min: 1, max: 8 } }).on(
  Work,
  async ({ data, id }, ctx) => {
    const facts = { key: data.key, id, offset: ctx.offset, attempt: ctx.attempt }
    note('begin', facts)
    if (Math.random() < 0.5) await new Promise((resolve) => setTimeout(resolve, Math.random() * 20))
    // Longer than a takeover takes: a surviving process keeps what it has in hand.
    if (Math.random() < 0.05) await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 400))
    if (Math.random() < 0.05) {
      note('failed', facts)
      throw new Error('by chance')
    }
    await ctx.emit(out, Out({ of: id })).catch(() => undefined)
    note(ctx.signal.aborted ? 'aborted' : 'done', facts)
  },
)
process.on('SIGTERM', () => {
  if (closing) return
  closing = true
  void broker.close().then(() => {
    note('closed', {})
    process.exit(0)
  })
})

const running = await broker.start(worker)
note('open', { pid: process.pid })
process.stdout.write('ready\n')

if (mode === 'work') {
  const publisher = async () => {
    while (!closing) {
      const made = Work({ key: `k-${Math.floor(Math.random() * 12)}` })
      note('sent', { id: made.id })
      try {
        const receipt = await broker.publish(work, made)
        note('acked', { id: made.id, offset: receipt.offset })
      } catch (error) {
        if (!closing) note('refused', { id: made.id, code: error.code, message: error.message })
      }
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 30))
    }
  }
  await Promise.all(Array.from({ length: 4 }, publisher))
} else {
  for (;;) {
    const { channels, consumers } = await broker.describe()
    const idle = consumers.every(
      (each) => each.inFlight === 0 && each.retrying === 0 && each.channels.every((channel) => channel.lag === 0),
    )
    if (idle && channels.every((channel) => channel.scheduled === 0)) break
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await running.stop()
  await broker.close()
  note('closed', {})
}
