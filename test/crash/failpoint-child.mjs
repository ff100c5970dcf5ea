/**
 * A process that dies at a named point of its store when it reaches it for the n-th time: `kill` as by SIGKILL, or
 * `exit` at once. Until then it publishes, and records what it sees in a ledger that survives it.
 *
 * node failpoint-child.mjs DIRECTORY LEDGER POINT COUNT kill|exit
 */
import { appendFileSync, openSync } from 'node:fs'
import { openFileEngine } from '../../dist/engines/embedded/open.js'

const [directory, ledger, point, count, how] = process.argv.slice(2)
const fd = openSync(ledger, 'a')
const note = (what, id, offset) => appendFileSync(fd, `${JSON.stringify({ what, id, offset })}\n`)
let left = Number(count)
const failpoint = (name) => {
  if (name !== point || --left > 0) return
  if (how === 'exit') process.exit(9)
  process.kill(process.pid, 'SIGKILL')
}
const small = {
  journalFileBytes: 64 * 1024,
  journalFiles: 3,
  applyIntervalMs: 5,
  applyBytes: 48 * 1024,
  segmentFileBytes: 256 * 1024,
  failpoint,
}
const engine = await openFileEngine(`file:${directory}`, {}, small)
const retain = { ageMs: null, bytes: null, count: null, latestByKey: false }
await engine.declare({
  name: 'notes',
  kind: 'stream',
  types: null,
  retain,
  dedupe: { ageMs: 600_000, count: 1000 },
  eventBytesMax: 1_048_576,
})
// A point that is not reached in this time is never reached by a publish.
const until = Date.now() + 10_000
let n = 0
const publisher = async () => {
  while (Date.now() < until) {
    const id = `${process.pid}-${n++}`
    const text = JSON.stringify({
      specversion: '1.0',
      id,
      source: '/crash',
      type: 'note',
      data: 'x'.repeat(Math.random() * 2000),
    })
    note('sent', id)
    const { offset } = await engine.publish('notes', { id, type: 'note', key: null, text }, null)
    note('acked', id, offset)
  }
}
await Promise.all([publisher(), publisher(), publisher()])
await engine.close()
