/** A process that redrives the dead letters of a directory, until it is killed. It uses the built package. */
import { connect, consumer, stream } from 'millrace'
import { createGateway } from 'millrace/gateway'

const broker = await connect(process.argv[2])
await broker.start(
  consumer('mailer', stream('mail'), { retry: { attempts: 1 }, onDead: 'skip' }).onAny(() => undefined),
)
const gateway = createGateway(broker, { drain: 0 })
await gateway.started
const path = 'http://localhost/api/consumers/mailer/redrives'
const { redrives } = await (await gateway.fetch(new Request(path))).json()
if (redrives.length === 0)
  await gateway.fetch(
    new Request(path, {
      method: 'POST',
      body: JSON.stringify({ perSecond: 20, reason: 'mended' }),
      headers: { 'content-type': 'application/json' },
    }),
  )
console.log('running')
