/** One of several processes that run a schedule on a directory. node schedule-child.mjs DIRECTORY */
import { connect, event, stream } from '../../dist/index.js'

const Tick = event('tick')
const ticks = stream('ticks', { events: [Tick] })
const broker = await connect(`file:${process.argv[2]}`)
await broker.schedule('data', { every: '1s' }, ticks, Tick('data'))
await broker.schedule('function', { every: '1s' }, ticks, ({ time }) => Tick(time.getTime()))
process.stdout.write('running\n')
