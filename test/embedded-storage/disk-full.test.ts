/**
 * A full disk and a failing disk. Full: publishes are refused with DISK_FULL, consumers continue, nothing is lost, and
 * everything continues by itself when there is space. Failing: the first error is kept, nothing is acknowledged after
 * it, and earlier data are there at the next opening.
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { isMillraceError } from '../../src/base/errors.ts'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { openFileEngine } from '../../src/engines/embedded/open.ts'
import { type FileSystem, nodeFileSystem } from '../../src/engines/embedded/storage/file-system.ts'
import { connect, consumer, event, stream } from '../../src/index.ts'

const root = mkdtempSync(join(tmpdir(), 'millrace-full-'))
const mounted: string[] = []
afterAll(() => {
  for (const folder of mounted) execFileSync('umount', [folder])
  rmSync(root, { recursive: true, force: true })
})

const Noted = event('noted')
const notes = stream('notes', { events: [Noted] })
const echoes = stream('echoes', { events: [Noted] })

type What = 'write' | 'sync' | 'create' | 'open' | 'index'

/**
 * The real file system, unless `fails` returns an error for a write, a sync, an opened file, or the index's
 * transaction.
 */
class FailingFileSystem {
  fails: (what: What, path: string) => string | null = () => null
  readonly #paths = new Map<number, string>()

  readonly fileSystem: FileSystem = {
    ...nodeFileSystem,
    open: (path, flags) => {
      this.#throw(this.fails(flags === 'wx+' ? 'create' : 'open', path))
      const fd = nodeFileSystem.open(path, flags)
      this.#paths.set(fd, path)
      return fd
    },
    write: (fd, bytes, position) => {
      const code = this.#fails('write', fd)
      // A disk that fills up accepts part of a write.
      if (code !== null) nodeFileSystem.write(fd, bytes.subarray(0, bytes.length >> 1), position)
      this.#throw(code)
      nodeFileSystem.write(fd, bytes, position)
    },
    writeAll: async (fd, chunks, position) => {
      this.#throw(this.#fails('write', fd))
      await nodeFileSystem.writeAll(fd, chunks, position)
    },
    sync: (fd, done) => {
      const code = this.#fails('sync', fd)
      if (code === null) nodeFileSystem.sync(fd, done)
      else setImmediate(() => done(coded(code)))
    },
  }

  #fails(what: What, fd: number): string | null {
    return this.fails(what, this.#paths.get(fd) ?? '')
  }

  /** LMDB's own files are not opened here. LMDB reports a failed transaction by the system's error number. */
  readonly failpoint = (name: string): void => {
    const code = name === 'apply.after-segment' ? this.fails('index', '') : null
    if (code !== null) throw Object.assign(new Error('as the test wants it'), { code: code === 'ENOSPC' ? 28 : 24 })
  }

  #throw(code: string | null): void {
    if (code !== null) throw coded(code)
  }
}

function coded(code: string): Error {
  return Object.assign(new Error(`${code}: as the test wants it`), { code })
}

let made = 0
async function open(
  directory: string = join(root, `d${made++}`),
): Promise<{ directory: string; disk: FailingFileSystem; broker: ConnectedBroker; alarms: string[] }> {
  const disk = new FailingFileSystem()
  const alarms: string[] = []
  const { fileSystem, failpoint } = disk
  const storage = {
    fileSystem,
    failpoint,
    journalFileBytes: 64 * 1024,
    journalFiles: 2,
    applyIntervalMs: 5,
    segmentFileBytes: 256 * 1024,
  }
  const engine = await openFileEngine(`file:${directory}`, { onAlarm: (alarm) => alarms.push(alarm.code) }, storage)
  return { directory, disk, broker: new ConnectedBroker(engine, { source: '/test', random: Math.random }), alarms }
}

async function stored(directory: string, channel = 'notes'): Promise<unknown[]> {
  const broker = await connect(`file:${directory}`)
  const found: unknown[] = []
  for await (const each of broker.read(channel)) found.push((each.data as { readonly n: unknown }).n)
  await broker.close()
  return found
}

const full = { errno: 'ENOSPC', refusal: 'DISK_FULL' }
const noDescriptor = { errno: 'EMFILE', refusal: 'TOO_MANY_FILES' }

describe.each([
  ['no room for the journal', full, (what: string, path: string) => what === 'write' && path.includes('journal')],
  [
    'no room for the segments',
    full,
    (what: string, path: string) => (what === 'write' || what === 'create') && path.includes('segment'),
  ],
  ['no room for new files', full, (what: string) => what === 'create'],
  ['no room for the index', full, (what: string) => what === 'index'],
  ['no room for everything', full, (what: string) => what !== 'sync' && what !== 'open'],
  ['no descriptor for new files', noDescriptor, (what: string) => what === 'create'],
  ['no descriptor for anything', noDescriptor, (what: string) => what === 'create' || what === 'open'],
] as const)('%s', (_, { errno, refusal }, where) => {
  test('publishes are refused or stored, consumers continue, nothing is lost, and publishing works again by itself', {
    timeout: 30_000,
  }, async () => {
    const { directory, disk, broker, alarms } = await open()
    const seen: number[] = []
    let go: () => void = () => undefined
    const waiting = new Promise<void>((resolve) => {
      go = resolve
    })
    const worker = consumer('worker', notes, { concurrency: 4 }).on(Noted, async ({ data }, ctx) => {
      const { n } = data as { readonly n: number }
      await waiting
      seen.push(n)
      await ctx.emit(echoes, Noted({ n }))
    })
    await broker.declare(echoes)
    const running = await broker.start(worker)
    const acked: number[] = []
    const refused: string[] = []
    let n = 0
    const publish = async (): Promise<boolean> => {
      const mine = n++
      try {
        await broker.publish(notes, Noted({ n: mine, text: 'x'.repeat(3000) }))
        acked.push(mine)
        return true
      } catch (error) {
        refused.push(isMillraceError(error) ? error.code : String(error))
        return false
      }
    }
    for (let count = 0; count < 20; count++) await publish()
    disk.fails = (what, path) => (where(what, path) ? errno : null)
    // Until it is noticed, the journal accepts what fits into it.
    await expect.poll(publish, { timeout: 10_000, interval: 1 }).toBe(false)
    expect([...new Set(refused)]).toEqual([refusal])
    await expect.poll(() => alarms).toContain(refusal)
    go()
    await expect.poll(() => seen.length).toBeGreaterThanOrEqual(20)
    disk.fails = () => null
    await expect.poll(publish, { timeout: 10_000 }).toBe(true)
    expect((await broker.describe()).alarms).toEqual([])
    await expect.poll(() => seen.length).toBe(acked.length)
    await running.stop()
    await broker.close()
    expect([...new Set(refused)]).toEqual([refusal])
    expect(await stored(directory)).toEqual(acked)
    expect(((await stored(directory, 'echoes')) as number[]).sort((a, b) => a - b)).toEqual(acked)
  })
})

describe.each([
  ['a sync of the journal', 'sync', 'journal'],
  ['a write to the journal', 'write', 'journal'],
  ['a sync of a segment', 'sync', 'segment'],
  ['a write to a segment', 'write', 'segment'],
] as const)('EIO of %s', (_, what, where) => {
  test('poisons the store: the first error stays, nothing is acknowledged after it, and everything before is there', async () => {
    const { directory, disk, broker, alarms } = await open()
    for (let n = 0; n < 5; n++) await broker.publish(notes, Noted({ n }))
    let failures = 0
    disk.fails = (did, path) => (did === what && path.includes(where) && failures++ === 0 ? 'EIO' : null)
    const errors: unknown[] = []
    let last = 4
    await expect
      .poll(
        async () => {
          await broker.publish(notes, Noted({ n: ++last })).catch((error: unknown) => errors.push(error))
          return errors.length
        },
        { timeout: 10_000, interval: 1 },
      )
      .toBe(1)
    // The disk works again, but the store still refuses everything.
    for (let n = 100; n < 103; n++)
      await broker.publish(notes, Noted({ n })).catch((error: unknown) => errors.push(error))
    expect(errors.map((error) => (error as { readonly code: string }).code)).toEqual(Array(4).fill('STORE_FAILED'))
    expect(new Set(errors.map((error) => (error as Error).cause)).size).toBe(1)
    expect(errors[0]).toMatchObject({
      cause: { code: 'EIO' },
      message: expect.stringContaining('open the directory again') as string,
    })
    expect(alarms).toContain('STORE_FAILED')
    await broker.close().catch(() => undefined)
    const found = await stored(directory)
    // It is unknown whether the publish of the failed commit is stored; the later ones are not.
    expect([Array.from({ length: last }, (_, n) => n), Array.from({ length: last + 1 }, (_, n) => n)]).toContainEqual(
      found,
    )
  })
})

/** A small separate file system: needs root on Linux. */
function mountTmpfs(bytes: string): string | null {
  const folder = join(root, `mount${made++}`)
  mkdirSync(folder)
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder], { stdio: 'ignore' })
  } catch {
    return null
  }
  mounted.push(folder)
  return folder
}

test('a real disk that is full refuses publishes and loses nothing', { timeout: 30_000 }, async (context) => {
  const folder = mountTmpfs('24m')
  if (folder === null) context.skip('mounting a tmpfs takes root on Linux')
  const directory = join(folder as string, 'data')
  const broker = await connect(`file:${directory}`)
  const ballast = join(folder as string, 'ballast')
  const acked: number[] = []
  let n = 0
  const publish = async (): Promise<string> => {
    const mine = n++
    try {
      await broker.publish(notes, Noted({ n: mine, text: 'x'.repeat(100_000) }))
      acked.push(mine)
      return 'ok'
    } catch (error) {
      return (error as { readonly code: string }).code
    }
  }
  expect(await publish()).toBe('ok')
  writeFileSync(ballast, Buffer.alloc(10 * 1024 * 1024))
  await expect.poll(publish, { timeout: 15_000, interval: 1 }).toBe('DISK_FULL')
  const seen: unknown[] = []
  const running = await broker.start(
    consumer('late', notes).on(Noted, ({ data }) => void seen.push((data as { readonly n: number }).n)),
  )
  await expect.poll(() => seen.length).toBe(acked.length)
  rmSync(ballast)
  await expect.poll(publish, { timeout: 10_000 }).toBe('ok')
  await running.stop()
  await broker.close()
  expect(await stored(directory)).toEqual(acked)
})

test('on a real disk that fills to the last byte no rejection is unhandled, the index works, and closing ends', {
  timeout: 60_000,
}, async (context) => {
  const folder = mountTmpfs('24m')
  if (folder === null) context.skip('mounting a tmpfs takes root on Linux')
  const { broker, directory } = await open(join(folder as string, 'data'))
  const unhandled: unknown[] = []
  const note = (error: unknown): void => void unhandled.push(error)
  process.on('unhandledRejection', note)
  const acked: number[] = []
  let n = 0
  const publish = async (): Promise<string> => {
    const mine = n++
    return broker.publish(notes, Noted({ n: mine, text: 'x'.repeat(20_000) })).then(
      () => {
        acked.push(mine)
        return 'ok'
      },
      (error: unknown) => (error as { readonly code: string }).code,
    )
  }
  for (let count = 0; count < 20; count++)
    await broker.publish(echoes, Noted({ n: count }), { delay: 200 + count * 20 })
  for (let round = 0; round < 3; round++) {
    const ballast: string[] = []
    for (let bytes = 1024 * 1024; bytes >= 4096; bytes /= 4) {
      for (;;) {
        const path = join(folder as string, `ballast${round}-${ballast.length}`)
        ballast.push(path)
        try {
          writeFileSync(path, Buffer.alloc(bytes))
        } catch {
          break
        }
      }
    }
    const codes = new Set<string>()
    await expect
      .poll(async () => codes.add(await publish()).has('DISK_FULL'), { timeout: 15_000, interval: 1 })
      .toBe(true)
    for (let count = 0; count < 5; count++) codes.add(await publish())
    expect([...codes].filter((code) => code !== 'ok')).toEqual(['DISK_FULL'])
    for (const path of ballast) rmSync(path)
    await expect.poll(publish, { timeout: 10_000 }).toBe('ok')
  }
  const came: unknown[] = []
  await expect
    .poll(async () => {
      came.length = 0
      for await (const each of broker.read(echoes)) came.push(each.data)
      return came.length
    })
    .toBe(20)
  // It is filled once more, and stays full.
  const running = await broker.start(
    consumer('late', notes, { drain: '100ms' }).on(Noted, () => new Promise((resolve) => setTimeout(resolve, 5))),
  )
  writeFileSync(join(folder as string, 'last'), '')
  try {
    for (let at = 0; ; at++) writeFileSync(join(folder as string, `last${at}`), Buffer.alloc(4096 * 64))
  } catch {
    await expect.poll(publish, { timeout: 15_000, interval: 1 }).toBe('DISK_FULL')
  }
  const startMs = Date.now()
  // There may be space for the little that closing has to store.
  const how = await broker.close().catch((error: unknown) => (error as { readonly code: string }).code)
  expect([undefined, 'DISK_FULL']).toContain(how)
  expect(Date.now() - startMs).toBeLessThan(20_000)
  await running.done
  expect(unhandled).toEqual([])
  process.off('unhandledRejection', note)
  for (const name of readdirSync(folder as string).filter((each) => each.startsWith('last')))
    rmSync(join(folder as string, name))
  expect(await stored(directory)).toEqual(acked)
})
