/**
 * A process with a relay, to be killed: it publishes what is in the outbox of a database to a served broker.
 *
 * node outbox-child.mjs BROKER_URL DATABASE_URL
 */
import pg from 'pg'
import { outboxRelay } from '../../dist/data/index.js'
import { connect } from '../../dist/index.js'

const [url, database] = process.argv.slice(2)
const pool = new pg.Pool({ connectionString: database, max: 4, connectionTimeoutMillis: 2000 })
pool.on('error', () => undefined)

async function start() {
  for (;;) {
    const broker = await connect(url).catch(() => null)
    if (broker === null) continue
    try {
      return await broker.start(outboxRelay(pool, { lease: '1s', batch: 50 }))
    } catch {
      // The database does not accept connections at this moment.
      await broker.close()
    }
  }
}

await start()
console.log('started')
