/**
 * A process that opens a directory, reports the outcome, and publishes an event for each line on its input. The end of
 * its input closes it.
 *
 * node owner-child.mjs DIRECTORY NAME [user=UID] [free=DESCRIPTORS]
 */
import { closeSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { connect, stream } from '../../dist/index.js'

const [directory, name, ...rest] = process.argv.slice(2)
const { user, free } = Object.fromEntries(rest.map((each) => each.split('=')))
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`)
if (user !== undefined) {
  process.setgroups([])
  process.setgid(Number(user))
  process.setuid(Number(user))
}

if (free !== undefined) {
  // All modules are loaded before, so that only the directory's own descriptors are missing.
  const warm = await connect(`file:${directory}`)
  await warm.close()
  const taken = []
  try {
    for (;;) taken.push(openSync('/dev/null', 'r'))
  } catch {
    for (let n = 0; n < Number(free); n++) closeSync(taken.pop())
  }
}

const notes = stream('notes')
try {
  const broker = await connect(`file:${directory}`)
  say({ pid: process.pid, open: true })
  for await (const line of createInterface({ input: process.stdin })) {
    await broker.publish(notes, { type: 'note', data: `${name} ${line}` }).then(
      ({ offset }) => say({ offset }),
      ({ code, message }) => say({ code, message }),
    )
  }
  await broker.close()
} catch ({ code, message, details }) {
  say({ open: false, code, message, details })
}
process.exit(0)
