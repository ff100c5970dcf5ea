/**
 * A backup of a directory in use shows one moment: it has everything acknowledged before, and a broker can continue
 * with it.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { openFileEngine } from '../../src/engines/embedded/open.ts'
import { connect, consumer, queue, stream } from '../../src/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-backup-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const orders = stream('orders', {
  key: ({ data }) => String((data as { readonly n: number }).n % 7),
  retain: { count: 3000 },
})
const jobs = queue('jobs')

it('a backup has everything that was acknowledged before it began, in order, while work continues', {
  timeout: 120_000,
}, async () => {
  // Small files: segments are finished, emptied by retention and removed while they are copied.
  const storage = { segmentFileBytes: 64 * 1024, applyBytes: 16 * 1024, journalFileBytes: 256 * 1024 }
  const engine = await openFileEngine(`file:${join(folder, 'busy')}`, {}, storage)
  const broker = new ConnectedBroker(engine, { source: '/test', random: Math.random })
  const emitted = stream('emitted')
  await broker.declare(orders, jobs, emitted)
  let handled = 0
  await broker.start(
    consumer('worker', orders, { concurrency: 16 }).onAny(async ({ data }, ctx) => {
      handled++
      await ctx.emit(emitted, { type: 'emitted', id: `e-${(data as { readonly n: number }).n}`, data })
    }),
  )
  let [published, stop] = [0, false]
  const publishing = (async () => {
    while (!stop) {
      const from = published
      await broker.publish(
        orders,
        Array.from({ length: 20 }, (_, at) => ({
          type: 'placed',
          id: `o-${from + at}`,
          data: { n: from + at, pad: 'x'.repeat(300) },
        })),
      )
      published = from + 20
    }
  })()
  for (let round = 0; round < 3; round++) {
    const [before, handledBefore] = [published, handled]
    await expect.poll(() => published, { timeout: 60_000 }).toBeGreaterThan(before + 500)
    const [acknowledged, target] = [published, join(folder, `copy-${round}`)]
    const { bytes } = (await engine.backup?.(target)) ?? { bytes: 0 }
    expect(bytes).toBeGreaterThan(10_000)
    expect(handled).toBeGreaterThanOrEqual(handledBefore)
    const copy = await connect(`file:${target}`)
    const [channel] = (await copy.describe()).channels.filter(({ name }) => name === 'orders')
    expect(channel?.next).toBeGreaterThanOrEqual(acknowledged)
    const found: number[] = []
    for await (const { data } of copy.read('orders')) found.push((data as { readonly n: number }).n)
    expect(found.at(-1)).toBe((channel?.next ?? 0) - 1)
    expect(found).toEqual(Array.from({ length: found.length }, (_, at) => (found[0] as number) + at))
    // The consumer continues at its position, and nothing is emitted twice.
    const ns: number[] = []
    await copy.start(
      consumer('worker', orders, { concurrency: 16 }).onAny(
        ({ data }) => void ns.push((data as { readonly n: number }).n),
      ),
    )
    await copy.publish(orders, { type: 'placed', id: 'after', data: { n: -1 } })
    await expect.poll(() => ns, { timeout: 30_000 }).toContain(-1)
    await copy.close()
  }
  stop = true
  await publishing
  await broker.close()
})

it('a backup is refused into a directory that is not empty and on a broker without files, and overwrites nothing', async () => {
  const broker = await connect(`file:${join(folder, 'one')}`)
  await broker.declare(jobs)
  const full = join(folder, 'full')
  mkdirSync(full)
  writeFileSync(join(full, 'mine.txt'), 'mine')
  await expect(broker.backup(full)).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('not empty'),
  })
  expect(readdirSync(full)).toEqual(['mine.txt'])
  const memory = await connect('memory:')
  await expect(memory.backup(join(folder, 'none'))).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('millrace copy'),
  })
  await expect(memory.backup(undefined as unknown as string)).rejects.toMatchObject({ code: 'INVALID_OPTION' })
  await memory.close()
  // A backup also has channels without events, and a process that shares the directory may request it.
  const beside = await connect(`file:${join(folder, 'one')}`)
  await beside.backup(join(folder, 'empty'))
  await beside.close()
  await broker.close()
  const copy = await connect(`file:${join(folder, 'empty')}`)
  expect((await copy.describe()).channels.map(({ name }) => name)).toEqual(['jobs'])
  await copy.close()
})
