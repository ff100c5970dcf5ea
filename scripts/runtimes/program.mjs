/**
 * What is run on Bun and on Deno, as a user of the package would write it: `write` publishes and handles on `memory:`
 * and `file:`, and `read` is a later process that finds in `file:` what the first one stored, in order, and its
 * consumer where it was.
 */
import assert from 'node:assert/strict'
import { connect, consumer, stream } from 'millrace'

const EVENTS = 2000
const BATCH = 100
const DIRECTORY = 'file:./data'
const notes = stream('notes')

/** Run the consumer until it has handled `count` events, and no more come. Answers what it got. */
async function handle(broker, count) {
  const got = []
  const finished = Promise.withResolvers()
  const reader = consumer('reader', notes).onAny(({ data }) => {
    if (got.push(data) === count) finished.resolve()
  })
  const running = await broker.start(reader)
  if (count > 0) await finished.promise
  const { completed } = await running.stop()
  assert.equal(completed, count)
  return got.sort((a, b) => a - b)
}

const numbers = (from, count) => Array.from({ length: count }, (_, n) => from + n)

async function publish(broker, from, count) {
  for (let n = from; n < from + count; n += BATCH)
    await broker.publish(
      notes,
      numbers(n, BATCH).map((data) => ({ type: 'noted', data })),
    )
}

async function write(url) {
  const broker = await connect(url)
  await publish(broker, 0, EVENTS)
  assert.deepEqual(await handle(broker, EVENTS), numbers(0, EVENTS))
  await broker.close()
  console.log(`${EVENTS} events published and handled on ${url}`)
}

async function read(url) {
  const broker = await connect(url)
  const kept = []
  for await (const { data } of broker.read(notes)) kept.push(data)
  assert.deepEqual(kept, numbers(0, EVENTS))
  // What was handled before the restart does not come again.
  await publish(broker, EVENTS, BATCH)
  assert.deepEqual(await handle(broker, BATCH), numbers(EVENTS, BATCH))
  await broker.close()
  console.log(`${EVENTS} events found again on ${url} after a restart, and ${BATCH} more handled`)
}

if (process.argv[2] === 'write') for (const url of ['memory:', DIRECTORY]) await write(url)
else await read(DIRECTORY)
