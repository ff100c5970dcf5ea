/**
 * Start real servers for trying Millrace on them, and stop them with Ctrl-C:
 *
 *   npm run engines                  all that can be started here
 *   npm run engines -- nats redis    these
 *   npm run engines -- --fetch       bring what Go and Maven can bring, start nothing; fails when a server cannot be had
 *
 * Each has a free port of the loopback interface and a folder of its own, removed at the end. What is missing is said, with what to
 * install; it exits with 1 when none could be started.
 */
import { ENGINES, type EngineName, kindFor, startEngine } from './engines.ts'
import type { Server } from './server.ts'

const fetching = process.argv.includes('--fetch')
const wanted = process.argv.slice(2).filter((word) => word !== '--fetch')
const unknown = wanted.filter((name) => !ENGINES.includes(name as EngineName))
if (unknown.length > 0) {
  console.error(`there is no engine ${unknown.join(', ')}: there are ${ENGINES.join(', ')}`)
  process.exit(2)
}

const servers: Server[] = []
let missing = 0
for (const name of wanted.length > 0 ? (wanted as EngineName[]) : ENGINES) {
  try {
    if (fetching) {
      console.log(`${name}: ${kindFor(name).program}`)
      continue
    }
    const server = await startEngine(name)
    servers.push(server)
    console.log(`BROKER_URL=${server.url}`)
  } catch (error) {
    missing++
    console.error(`${name} was not started: ${(error as Error).message}`)
  }
}
if (fetching) process.exit(missing === 0 ? 0 : 1)
if (servers.length === 0) process.exit(1)
console.log('Ctrl-C stops them.')

let stopping = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (stopping) return
    stopping = true
    void Promise.all(servers.map((server) => server.stop())).then(() => process.exit(0))
  })
}
setInterval(() => undefined, 2 ** 30)
