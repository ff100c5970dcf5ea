/**
 * `millrace check`: it finds what is damaged and what is lost, changes nothing unless told to, and repairs with
 * everything that can be read.
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { openFileEngine } from '../../src/engines/embedded/open.ts'
import { checkDirectory } from '../../src/engines/embedded/repair.ts'
import { connect, consumer, event, stream } from '../../src/index.ts'

const root = mkdtempSync(join(tmpdir(), 'millrace-repair-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const Noted = event('noted')
const notes = stream('notes', { events: [Noted] })
const others = stream('others', { events: [Noted] })
const intact = join(root, 'intact')
const EVENTS = 600

beforeAll(async () => {
  const broker = await connect(`file:${intact}-live`)
  const running = await broker.start(consumer('reader', notes).on(Noted, () => undefined))
  for (let n = 0; n < EVENTS; n += 100) {
    await broker.publish(
      notes,
      Array.from({ length: 100 }, (_, index) => Noted({ n: n + index, text: 'x'.repeat(300) })),
    )
    await broker.publish(others, Noted({ n }))
    // Each becomes an extent of its own.
    await new Promise((resolve) => setTimeout(resolve, 150))
  }
  await vi.waitFor(async () => expect((await broker.describe()).consumers[0]?.channels[0]?.lag).toBe(0), {
    timeout: 10_000,
  })
  await running.stop()
  await broker.close()
  // Commits that are not applied, from a second use that is copied while it runs.
  const again = await openFileEngine(`file:${intact}-live`, {}, { applyIntervalMs: 3_600_000 })
  for (let n = 0; n < 3; n++)
    await again.publish(
      'others',
      {
        id: `late-${n}`,
        type: 'noted',
        key: null,
        text: `{"specversion":"1.0","id":"late-${n}","source":"/t","type":"noted","data":{"n":${n}}}`,
      },
      null,
    )
  cpSync(`${intact}-live`, intact, { recursive: true, filter: (path) => !path.endsWith('.sock') })
  writeFileSync(join(intact, '.tokens.json'), '[]')
  await again.close()
}, 30_000)

let made = 0
function damagedCopy(damage: (directory: string) => void): string {
  const directory = join(root, `d${made++}`)
  cpSync(intact, directory, { recursive: true })
  damage(directory)
  return directory
}

/** Everything except the files that name the owner. */
function contentOf(directory: string): [string, string][] {
  return readdirSync(directory)
    .filter((name) => !name.startsWith('owner'))
    .sort()
    .map((name) => [name, readFileSync(join(directory, name)).toString('latin1')])
}

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const found: Item[] = []
  for await (const item of items) found.push(item)
  return found
}

async function read(directory: string, channel: string): Promise<{ readonly offset: number; readonly id: string }[]> {
  const broker = await connect(`file:${directory}`)
  const events = []
  for await (const each of broker.read(channel)) events.push({ offset: each.offset, id: each.id })
  await broker.close()
  return events
}

function overwrite(file: string, at: number, bytes: number): (directory: string) => void {
  return (directory) => {
    const content = readFileSync(join(directory, file))
    content.fill(0xa5, at, at + bytes)
    writeFileSync(join(directory, file), content)
  }
}

/** The journal file with the commits that are not applied, and the position of its last frame's body. */
function inJournal(directory: string, mark: string): { readonly file: string; readonly at: number } {
  for (const file of readdirSync(directory).filter((name) => name.startsWith('journal-'))) {
    const at = readFileSync(join(directory, file)).indexOf(mark)
    if (at >= 0) return { file, at }
  }
  throw new Error(`no journal file holds ${mark}`)
}

/** Damage every page of the index that contains an extent's entry; the page in use is among them. */
function damageExtentPages(directory: string): void {
  const path = join(directory, 'index.mdb')
  const bytes = readFileSync(path)
  for (let at = 2 * 4096; at < bytes.length; at += 4096)
    if (bytes.subarray(at, at + 4096).includes('x00000001/')) bytes.fill(0xa5, at + 20, at + 80)
  writeFileSync(path, bytes)
}

test('an undamaged directory is reported as such and is not changed, with or without repair', async () => {
  const directory = damagedCopy(() => undefined)
  const before = contentOf(directory)
  expect(await checkDirectory(directory, false)).toMatchObject({
    problems: [],
    channels: [
      { name: 'notes', first: 0, next: EVENTS, lost: [] },
      { name: 'others', next: 9, lost: [] },
    ],
  })
  expect((await checkDirectory(directory, true)).keptAs).toBeUndefined()
  expect(contentOf(directory)).toEqual(before)
})

test('a check refuses an empty directory, and one that a process has open', async () => {
  await expect(checkDirectory(join(root, 'nowhere'), false)).rejects.toMatchObject({ code: 'DATA_MISSING' })
  expect(existsSync(join(root, 'nowhere'))).toBe(false)
  const directory = damagedCopy(() => undefined)
  const broker = await connect(`file:${directory}`)
  await expect(checkDirectory(directory, true)).rejects.toMatchObject({ code: 'DIRECTORY_IN_USE' })
  await broker.close()
})

describe('damaged events in a segment', () => {
  const damage = overwrite('segment-00000001', 2000, 10)

  test('cause an error only for their readers, and publishing continues', async () => {
    const directory = damagedCopy(damage)
    const broker = await connect(`file:${directory}`)
    await expect(all(broker.read('notes'))).rejects.toMatchObject({
      code: 'DATA_DAMAGED',
      details: { file: 'segment-00000001' },
    })
    expect((await all(broker.read('notes', { from: { offset: 500 } }))).length).toBe(100)
    expect((await all(broker.read('others'))).length).toBe(9)
    expect((await broker.publish(notes, Noted({ n: 1 }))).offset).toBe(EVENTS)
    await broker.close()
  })

  test('stop a consumer before them with an alarm, and other consumers continue', async () => {
    const directory = damagedCopy(damage)
    const alarms: string[] = []
    const broker = await connect(`file:${directory}`, { onAlarm: (alarm) => alarms.push(alarm.code) })
    const seen: number[] = []
    const stuck = await broker.start(
      consumer('stuck', notes).on(Noted, (each) => void seen.push((each.data as { readonly n: number }).n)),
    )
    await expect.poll(() => alarms).toContain('DATA_DAMAGED')
    const fine = await broker.start(
      consumer('fine', others).on(Noted, (each) => void seen.push((each.data as { readonly n: number }).n)),
    )
    await expect.poll(() => seen.length).toBe(9)
    await stuck.stop()
    await fine.stop()
    await broker.close()
  })

  test('make a consumer stall, with the reason, and other consumers are reported as before', async () => {
    const directory = damagedCopy(damage)
    const broker = await connect(`file:${directory}`)
    const stuck = await broker.start(consumer('stuck', notes).on(Noted, () => undefined))
    const fine = await broker.start(consumer('fine', others).on(Noted, () => undefined))
    await expect
      .poll(async () => (await broker.describe()).consumers.find(({ name }) => name === 'fine')?.channels[0]?.lag)
      .toBe(0)
    const { consumers } = await broker.describe()
    const of = (name: string) => consumers.find((each) => each.name === name)
    expect(of('stuck')).toMatchObject({
      channels: [{ channel: 'notes', lag: EVENTS }],
      stalled: { reason: expect.stringContaining('segment-00000001') as string },
    })
    expect(of('fine')).toMatchObject({ stalled: null })
    await stuck.stop()
    await fine.stop()
    await broker.close()
  })

  test('are named by a check, which changes nothing, and are holes after a repair, which keeps the old files', async () => {
    const directory = damagedCopy(damage)
    const before = contentOf(directory)
    const report = await checkDirectory(directory, false)
    expect(report.problems).toMatchObject([{ file: 'segment-00000001' }])
    const { lost } = report.channels.find((channel) => channel.name === 'notes') as (typeof report.channels)[number]
    expect(lost).toEqual([[0, 100]])
    expect(contentOf(directory)).toEqual(before)
    const { keptAs } = await checkDirectory(directory, true)
    expect(contentOf(keptAs as string)).toEqual(before)
    expect(statSync(keptAs as string).mode & 0o777).toBe(0o700)
    expect(readFileSync(join(directory, '.tokens.json'), 'utf8')).toBe('[]')
    const events = await read(directory, 'notes')
    expect(events.map((each) => each.offset)).toEqual(Array.from({ length: EVENTS - 100 }, (_, index) => 100 + index))
    expect((await read(directory, 'others')).length).toBe(9)
    expect((await checkDirectory(directory, false)).problems).toEqual([])
    // Consumers skip the holes, and those that were past them stay at their positions.
    const broker = await connect(`file:${directory}`)
    const seen: number[] = []
    const fresh = await broker.start(
      consumer('fresh', notes).on(Noted, (each) => void seen.push((each.data as { readonly n: number }).n)),
    )
    const again: number[] = []
    const old = await broker.start(
      consumer('reader', notes).on(Noted, (each) => void again.push((each.data as { readonly n: number }).n)),
    )
    await broker.publish(notes, Noted({ n: -1 }))
    await expect.poll(() => seen.length).toBe(EVENTS - 99)
    await expect.poll(() => again).toEqual([-1])
    await fresh.stop()
    await old.stop()
    await broker.close()
  })
})

test('a repair of a damaged commit in the middle of the journal keeps everything before and after it', async () => {
  const directory = damagedCopy((copy) => {
    const { file, at } = inJournal(copy, '"late-1"')
    overwrite(file, at, 4)(copy)
  })
  await expect(connect(`file:${directory}`)).rejects.toMatchObject({ code: 'DATA_DAMAGED' })
  expect((await checkDirectory(directory, false)).channels).toMatchObject([
    { name: 'notes', lost: [] },
    { name: 'others', lost: [[7, 8]] },
  ])
  await checkDirectory(directory, true)
  expect((await read(directory, 'others')).map((each) => each.offset)).toEqual([0, 1, 2, 3, 4, 5, 6, 8])
  expect((await read(directory, 'notes')).length).toBe(EVENTS)
})

describe('an index', () => {
  test('with a damaged page is made again from the segments', async () => {
    const directory = damagedCopy(damageExtentPages)
    await expect(connect(`file:${directory}`)).rejects.toMatchObject({
      code: 'DATA_DAMAGED',
      details: { file: 'index.mdb' },
    })
    await checkDirectory(directory, true)
    const broker = await connect(`file:${directory}`)
    const { channels } = await broker.describe()
    const events = await Promise.all(channels.map((channel) => all(broker.read(channel.name))))
    await broker.close()
    expect(events.map((each) => each.length).sort()).toEqual([9, EVENTS].sort())
  })

  test('that is missing is made again, with names that say so', async () => {
    const directory = damagedCopy((copy) => rmSync(join(copy, 'index.mdb')))
    await expect(connect(`file:${directory}`)).rejects.toMatchObject({
      code: 'DATA_DAMAGED',
      details: { file: 'index.mdb' },
    })
    await checkDirectory(directory, true)
    const broker = await connect(`file:${directory}`)
    const { channels } = await broker.describe()
    await broker.close()
    expect(channels.map((channel) => channel.next - channel.first).sort()).toEqual([9, EVENTS].sort())
  })
})

test('a missing marker is made again', async () => {
  const directory = damagedCopy((copy) => rmSync(join(copy, 'millrace.json')))
  await expect(connect(`file:${directory}`)).rejects.toMatchObject({
    code: 'DATA_DAMAGED',
    details: { file: 'millrace.json' },
  })
  const { keptAs } = await checkDirectory(directory, true)
  expect(keptAs).toBeDefined()
  expect((await read(directory, 'notes')).length).toBe(EVENTS)
  expect((await read(directory, 'others')).length).toBe(9)
})

describe('a repair of records', () => {
  /** A directory with dead letters, a delayed event and a position, whose last commits are only in the journal. */
  async function made(): Promise<string> {
    const live = join(root, `live${made_++}`)
    const first = await connect(`file:${live}`)
    const running = await first.start(consumer('c', notes).on(Noted, (_, ctx) => ctx.reject('no')))
    for (let n = 0; n < 5; n++) await first.publish(notes, Noted({ mark: `LETTER-${n}` }))
    for (let n = 0; n < 3; n++)
      await first.publish(others, Noted({ mark: `DELAYED-${n}` }, { id: `later-${n}` }), { delay: '1h' })
    await expect.poll(async () => (await first.deadLetters('c').list()).length).toBe(5)
    await running.stop()
    await first.close()
    return live
  }
  let made_ = 0

  function flip(directory: string, file: string, text: string): void {
    const path = join(directory, file)
    const bytes = readFileSync(path)
    for (let at = bytes.indexOf(text); at >= 0; at = bytes.indexOf(text, at + 1)) bytes[at] = (bytes[at] as number) ^ 1
    writeFileSync(path, bytes)
  }

  test('removes a letter whose text is lost, which a check reports, and the other letters can be redriven', async () => {
    const directory = await made()
    flip(directory, 'index.mdb', 'LETTER-2')
    const lost = [
      { what: 'dead letter', channel: 'notes', consumer: 'c', count: 1, certain: true, which: ['offset 2'] },
    ]
    expect((await checkDirectory(directory, false)).losses).toEqual(lost)
    expect((await checkDirectory(directory, true)).losses).toEqual(lost)
    const broker = await connect(`file:${directory}`)
    const again: number[] = []
    const running = await broker.start(consumer('c', notes).on(Noted, (_, ctx) => void again.push(ctx.offset)))
    expect(await broker.deadLetters('c').redrive()).toBe(4)
    await expect.poll(() => again).toEqual([0, 1, 3, 4])
    await running.stop()
    await broker.close()
  })

  test('reports a lost delayed event by its id, which can be published again', async () => {
    const directory = await made()
    flip(directory, 'index.mdb', 'DELAYED-1')
    const report = await checkDirectory(directory, true)
    expect(report.losses).toMatchObject([
      { what: 'delayed event', channel: 'others', count: 1, certain: true, which: ['id later-1'] },
    ])
    const broker = await connect(`file:${directory}`)
    expect((await broker.describe()).channels.find(({ name }) => name === 'others')?.scheduled).toBe(2)
    await broker.close()
  })

  test('without an index reports everything that may be lost besides the events', async () => {
    const directory = await made()
    rmSync(join(directory, 'index.mdb'))
    const { losses } = await checkDirectory(directory, false)
    const told = losses.filter(({ certain }) => !certain).map(({ what }) => what)
    expect(told).toEqual(
      expect.arrayContaining(['dead letter', 'delayed event', 'position of a consumer', 'declaration of a channel']),
    )
  })

  test('does not give out the offsets of a lost commit again if a later commit shows that a consumer handled them', async () => {
    const live = join(root, `live${made_++}`)
    const broker = await openFileEngine(`file:${live}`, {}, { applyIntervalMs: 3_600_000 })
    const publish = (id: string) =>
      broker.publish(
        'notes',
        { id, type: 'noted', key: null, text: `{"specversion":"1.0","id":"${id}","source":"/t","type":"noted"}` },
        null,
      )
    await broker.declare({
      name: 'notes',
      kind: 'stream',
      types: null,
      retain: { ageMs: null, bytes: null, count: null, latestByKey: false },
      dedupe: null,
      eventBytesMax: 1024,
    })
    await publish('first')
    await Promise.all(['damaged-0', 'damaged-1', 'damaged-2'].map(publish))
    const { carriage } = broker
    await carriage.putConsumer({
      channel: 'notes',
      consumer: 'c',
      workers: [],
      floor: 2,
      settled: [[3, 4]],
      retries: [],
      inFlight: null,
    })
    const directory = join(root, `copy${made_++}`)
    cpSync(live, directory, { recursive: true, filter: (path) => !path.endsWith('.sock') })
    await broker.close()
    const { file, at } = inJournal(directory, '"damaged-1"')
    overwrite(file, at, 4)(directory)
    const told = await checkDirectory(directory, false)
    expect(told.channels).toMatchObject([{ name: 'notes', lost: [[1, 4]] }])
    expect(told.losses).toMatchObject([{ what: 'commit', count: 1, certain: true }])
    await checkDirectory(directory, true)
    const again = await connect(`file:${directory}`)
    const seen: number[] = []
    const running = await again.start(consumer('c', notes).on(Noted, (_, ctx) => void seen.push(ctx.offset)))
    const receipts = []
    for (let n = 0; n < 5; n++) receipts.push((await again.publish(notes, Noted({ n }))).offset)
    expect(receipts[0]).toBeGreaterThanOrEqual(4)
    await expect.poll(() => seen).toEqual(receipts)
    await running.stop()
    await again.close()
  })
})
