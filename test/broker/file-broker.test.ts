import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { openFileEngine } from '../../src/engines/embedded/open.ts'
import { connect, consumer, event, isMillraceError, stream } from '../../src/index.ts'

const folders: string[] = []
function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'millrace-'))
  folders.push(made)
  return made
}
afterEach(() => {
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true })
})

const Counted = event('counted')
const counts = stream('counts', { events: [Counted], key: (e) => String((e.data as { n: number }).n % 7) })

test('what was published is there after the broker is opened again, and consumers go on where they were', async () => {
  const url = `file:${folder()}`
  const first = await connect(url)
  const seen: number[] = []
  const counter = consumer('counter', counts).on(Counted, ({ data }) => {
    seen.push((data as { n: number }).n)
  })
  await Promise.all(Array.from({ length: 500 }, (_, n) => first.publish(counts, Counted({ n }))))
  const running = await first.start(counter)
  await expect.poll(() => seen.length).toBe(500)
  await running.stop()
  await first.publish(counts, Counted({ n: 500 }))
  await first.close()
  const second = await connect(url)
  const read: number[] = []
  for await (const { data, offset } of second.read(counts)) read.push((data as { n: number }).n - offset)
  expect(read).toEqual(Array(501).fill(0))
  await second.start(counter)
  await expect.poll(() => seen.length).toBe(501)
  expect(await second.publish(counts, Counted({ n: 501 }))).toMatchObject({ offset: 501 })
  await second.close()
})

test('a broker that looks, and one that writes, in one process: the one that writes is opened first, or is refused and harms nothing', async () => {
  const url = `file:${folder()}`
  const first = await connect(url)
  await first.publish(counts, Counted({ n: 0 }))
  await first.close()
  const looking = await connect(url, { readOnly: true })
  await expect(connect(url)).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('readOnly'),
  })
  expect((await looking.describe()).channels).toMatchObject([{ name: 'counts', next: 1 }])
  await looking.close()
  const writing = await connect(url)
  const beside = await connect(url, { readOnly: true })
  await writing.publish(counts, Counted({ n: 1 }))
  await beside.close()
  await writing.publish(counts, Counted({ n: 2 }))
  await writing.close()
})

test('a second connection attaches to the owner of the directory, and owns it when that one has closed', async () => {
  const url = `file:${folder()}`
  const counts = stream('counts', { events: [Counted] })
  const first = await connect(url)
  const second = await connect(url)
  expect(await second.publish(counts, Counted({ n: 0 }))).toMatchObject({ offset: 0 })
  expect(await first.publish(counts, Counted({ n: 1 }))).toMatchObject({ offset: 1 })
  const seen: number[] = []
  await second.start(consumer('late', counts).on(Counted, ({ data }) => void seen.push((data as { n: number }).n)))
  await expect.poll(() => seen).toEqual([0, 1])
  await first.close()
  expect(await second.publish(counts, Counted({ n: 2 }))).toMatchObject({ offset: 2 })
  await expect.poll(() => seen).toEqual([0, 1, 2])
  await second.close()
})

test('who wants the directory alone is told who holds it and since when', async () => {
  const url = `file:${folder()}`
  const first = await connect(url)
  await expect(openFileEngine(url)).rejects.toSatisfy(
    (error) => isMillraceError(error, 'DIRECTORY_IN_USE') && error.details['pid'] === process.pid,
  )
  await first.close()
  const second = await openFileEngine(url)
  await second.close()
})
