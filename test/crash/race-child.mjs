/**
 * One of many processes that open a directory at once. It publishes, as the owner or attached, until it is told to end.
 * With `alone` it becomes the owner or reports who the owner is.
 *
 * node race-child.mjs DIRECTORY NAME shared|alone
 */

import { openFileEngine } from '../../dist/engines/embedded/open.js'
import { connect } from '../../dist/index.js'

const [directory, name, mode] = process.argv.slice(2)
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`)
process.on('SIGTERM', () => process.exit(0))

if (mode === 'alone') {
  try {
    const engine = await openFileEngine(`file:${directory}`)
    say({ owner: true, pid: process.pid })
    process.on('SIGUSR2', () => void engine.close().then(() => process.exit(0)))
    setInterval(() => undefined, 1000)
  } catch (error) {
    say({ owner: false, code: error.code, message: error.message, details: error.details })
  }
} else {
  const broker = await connect(`file:${directory}`)
  const alarms = []
  for (let n = 0; ; n++) {
    const id = `${name}-${n}`
    const { offset } = await broker.publish('notes', { type: 'note', id, data: { name } })
    say({ id, offset, alarms })
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
