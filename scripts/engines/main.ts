/**
 * Starts real servers for trying Millrace on them, and stops them with Ctrl-C:
 *
 *   npm run engines                  all that can be started here
 *   npm run engines -- nats redis    only these
 *   npm run engines -- --fetch       fetch what Go and Maven provide, start nothing; fails if a server is not available
 *
 * Each has a free loopback port and its own folder, which is removed at the end. For a missing server it prints what to
 * install. It exits with 1 if none could be started.
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

/** Servers that no engine runs on: databases of users, beside which events are published. */
const DATABASES: ReadonlySet<EngineName> = new Set(['mariadb'])

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
    console.log(`${DATABASES.has(name) ? 'DATABASE_URL' : 'BROKER_URL'}=${server.url}`)
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
