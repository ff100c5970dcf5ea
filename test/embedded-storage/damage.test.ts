/**
 * Damage to every kind of file, at many positions: truncated, bits flipped, zeroed, exchanged, removed, or from another
 * directory. The directory is refused with an error that names the file, or opens with everything acknowledged. Damage
 * that is found later is an error only for those who read it. Nothing is ever missing without an error.
 */
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isMillraceError, type MillraceError } from '../../src/base/errors.ts'
import { DiskStore } from '../../src/engines/embedded/storage/disk-store.ts'
import { revive, SMALL } from './simulation.ts'
import { CHANNELS, committed, Model, randomFrame, randomFrom } from './world.ts'

const root = mkdtempSync(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'millrace-damage-'))
afterAll(() => rmSync(root, { recursive: true, force: true }))

const model = new Model()
/** Without the last commit: damage to the last frame looks like a commit that was cut off. */
let allButLast = new Model()
const intact = join(root, 'intact')
const other = join(root, 'other')

/**
 * A directory as a killed process leaves it: segments, an index, and frames in several journal files that are not
 * applied.
 */
async function makeDirectory(directory: string, seed: number, into: Model): Promise<Model> {
  const random = randomFrom(seed)
  const first = await DiskStore.open(`${directory}-live`, revive, { ...SMALL, applyIntervalMs: 1 })
  for (let turn = 0; turn < 200; turn++) {
    const frame = randomFrame(random, into)
    await committed(first, frame)
    into.apply(frame)
  }
  // Enough entries for an index of several levels, with values on pages of their own.
  for (let part = 0; part < 6; part++) {
    const many = Array.from(
      { length: 120 },
      (_, index) => [`r/${part}-${index}`, Buffer.alloc(index % 30 === 0 ? 6000 : 40, index)] as const,
    )
    const frame = { blocks: [], records: many, trims: [] }
    await committed(first, frame)
    into.apply(frame)
  }
  await first.close()
  const second = await DiskStore.open(`${directory}-live`, revive, {
    ...SMALL,
    applyIntervalMs: 3_600_000,
    applyBytes: 1e9,
  })
  let before = into
  for (let turn = 0; turn < 18; turn++) {
    const frame = randomFrame(random, into, false)
    await committed(second, frame)
    before = into.clone()
    into.apply(frame)
  }
  cpSync(`${directory}-live`, directory, { recursive: true, filter: (path) => !path.endsWith('.sock') })
  await second.close()
  return before
}

beforeAll(async () => {
  allButLast = await makeDirectory(intact, 7, model)
  await makeDirectory(other, 8, new Model())
})

let made = 0

/**
 * Open a damaged copy of the directory. Returns how it was refused, or what could not be read; null if everything is
 * there.
 */
async function openDamaged(
  damage: (directory: string) => void,
  acceptable: readonly Model[],
): Promise<MillraceError | null> {
  const directory = join(root, `d${made++}`)
  cpSync(intact, directory, { recursive: true })
  damage(directory)
  try {
    const store = await DiskStore.open(directory, revive, { ...SMALL, applyIntervalMs: 3_600_000 })
    try {
      return await readAll(store, acceptable)
    } finally {
      await store.close().catch(() => undefined)
    }
  } catch (error) {
    if (isMillraceError(error)) return error
    throw error
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Check that everything readable is right. Returns the error of what is not readable. */
async function readAll(store: DiskStore, acceptable: readonly Model[]): Promise<MillraceError | null> {
  const found: { events: Record<string, string>; records: Record<string, string> } = { events: {}, records: {} }
  let failed: MillraceError | null = null
  const attempt = async (act: () => Promise<void> | void): Promise<boolean> => {
    try {
      await act()
      return true
    } catch (error) {
      if (!isMillraceError(error, 'DATA_DAMAGED')) throw error
      failed ??= error
      return false
    }
  }
  const unread = new Set<number>()
  for (const channelId of CHANNELS) {
    let offset = model.first.get(channelId) ?? 0
    const whole = await attempt(async () => {
      while (offset < store.bounds(channelId).next) {
        const blocks = await store.read(channelId, offset, 64 * 1024)
        if (blocks.length === 0) break
        for (const block of blocks) {
          if (block.firstOffset >= (model.first.get(channelId) ?? 0))
            found.events[`${channelId}/${block.firstOffset}`] = Buffer.from(block.bytes).toString('base64')
          offset = block.firstOffset + block.count
        }
      }
    })
    if (!whole) unread.add(channelId)
  }
  const recordsRead = await attempt(() => {
    for (const [key, value] of store.range('r/', 'r0')) found.records[key] = Buffer.from(value).toString('base64')
  })
  const matching = acceptable.filter((candidate) => {
    const wanted = candidate.content()
    const right = Object.entries(found.events).every(([place, event]) => wanted.events[place] === event)
    const all = Object.keys(wanted.events).every(
      (place) => unread.has(Number(place.split('/')[0])) || found.events[place] !== undefined,
    )
    return (
      right && all && (!recordsRead || JSON.stringify(sorted(found.records)) === JSON.stringify(sorted(wanted.records)))
    )
  })
  if (matching.length === 0) throw new Error(`missing in silence: ${acceptable[0]?.differenceTo(found)}`)
  return failed
}

function sorted(records: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(records).sort(([a], [b]) => (a < b ? -1 : 1))
}

function files(kind: RegExp): string[] {
  return readdirSync(intact).filter((name) => kind.test(name))
}

/** Positions spread over a file, always including its first bytes. */
function places(size: number, count: number): number[] {
  const random = randomFrom(size + count)
  return [
    ...new Set([
      0,
      1,
      4,
      8,
      12,
      16,
      24,
      26,
      36,
      40,
      44,
      48,
      60,
      64,
      size - 1,
      ...Array.from({ length: count }, () => Math.floor(random() * size)),
    ]),
  ].filter((at) => at < size)
}

function edit(name: string, change: (bytes: Buffer) => Buffer): (directory: string) => void {
  return (directory) => writeFileSync(join(directory, name), change(Buffer.from(readFileSync(join(directory, name)))))
}

function flip(name: string, at: number, bit: number): (directory: string) => void {
  return edit(name, (bytes) => {
    bytes[at] = (bytes[at] as number) ^ (1 << bit)
    return bytes
  })
}

/** The file with the last frame: damage to its last commit looks like a commit that was cut off. */
function lastJournal(): string {
  const sequences = files(/^journal-/).map((name) => [name, readFileSync(join(intact, name)).readDoubleLE(16)] as const)
  return sequences.reduce((a, b) => (b[1] > a[1] ? b : a))[0]
}

const KINDS = [
  { kind: 'journal', pattern: /^journal-/, flips: 80 },
  { kind: 'segment', pattern: /^segment-/, flips: 60 },
  { kind: 'index', pattern: /^index\.mdb$/, flips: 300 },
  { kind: 'marker', pattern: /^millrace\.json$/, flips: 60 },
] as const

describe.each(KINDS)('$kind', ({ kind, pattern, flips }) => {
  const acceptable = (name: string): readonly Model[] => (name === lastJournal() ? [model, allButLast] : [model])
  const names = (error: MillraceError, name: string): void => {
    expect(['DATA_DAMAGED', 'DATA_FOREIGN']).toContain(error.code)
    if (kind !== 'segment') expect(error.message).toMatch(/journal-|index\.mdb|millrace\.json|segment-/)
    else expect(error.message).toContain(name)
  }

  test('a flipped bit is noticed', { timeout: 60_000 }, async () => {
    for (const name of files(pattern)) {
      const size = readFileSync(join(intact, name)).length
      for (const at of places(size, Math.ceil(flips / files(pattern).length))) {
        const error = await openDamaged(flip(name, at, at % 8), acceptable(name)).catch((cause: unknown) => {
          throw new Error(`${name}, bit ${at % 8} of byte ${at}`, { cause })
        })
        if (error !== null) names(error, name)
      }
    }
  })

  test('a file that is cut short is noticed', { timeout: 60_000 }, async () => {
    for (const name of files(pattern)) {
      const size = readFileSync(join(intact, name)).length
      for (const at of places(size, 10)) {
        const error = await openDamaged(
          edit(name, (bytes) => bytes.subarray(0, at)),
          [model],
        )
        // Bytes after the last used one of a segment, and free pages at the end of an index, may be missing.
        if (error !== null) names(error, name)
        else if (kind === 'journal' || (kind === 'marker' && at < size - 1))
          expect([name, at, 'opened']).toEqual([name, at, 'refused'])
      }
    }
  })

  test('zeros in a sector or in the whole file are noticed', { timeout: 60_000 }, async () => {
    for (const name of files(pattern)) {
      const size = readFileSync(join(intact, name)).length
      for (const at of places(size, 12)) {
        const sector = at - (at % 512)
        const error = await openDamaged(
          edit(name, (bytes) => bytes.fill(0, sector, Math.min(bytes.length, sector + 512))),
          acceptable(name),
        )
        if (error !== null) names(error, name)
      }
      const error = await openDamaged(
        edit(name, (bytes) => bytes.fill(0)),
        [model],
      )
      expect([name, error?.code]).toEqual([name, 'DATA_DAMAGED'])
    }
  })

  test('an empty or missing file, and a file of another kind, are noticed', async () => {
    for (const name of files(pattern)) {
      const damages: [string, (directory: string) => void][] = [
        ['empty', edit(name, () => Buffer.alloc(0))],
        ['text', edit(name, () => Buffer.from('something else\n'.repeat(9000)))],
        ['missing', (directory) => rmSync(join(directory, name))],
      ]
      for (const [what, damage] of damages) {
        const error = await openDamaged(damage, [model])
        expect([name, what, error?.code]).toEqual([name, what, 'DATA_DAMAGED'])
        if (error !== null) names(error, name)
      }
    }
  })

  test('a file of another directory is noticed', async () => {
    for (const name of files(pattern)) {
      const from = readdirSync(other).find((candidate) => pattern.test(candidate)) as string
      const error = await openDamaged((directory) => cpSync(join(other, from), join(directory, name)), [model])
      expect([name, error === null]).toEqual([name, false])
    }
  })

  test('a file that is exchanged with another, or overwritten by it, is noticed', async () => {
    const [a, b, c] = files(pattern)
    if (a === undefined || b === undefined) return
    for (const [left, right] of [
      [a, b],
      [b, c ?? a],
    ] as const) {
      const swapped = await openDamaged(
        (directory) => {
          const bytes = readFileSync(join(directory, left))
          cpSync(join(directory, right), join(directory, left))
          writeFileSync(join(directory, right), bytes)
        },
        [model],
      )
      if (swapped !== null) names(swapped, kind === 'segment' ? 'segment-' : left)
      const copied = await openDamaged((directory) => cpSync(join(directory, right), join(directory, left)), [model])
      if (copied !== null) names(copied, kind === 'segment' ? 'segment-' : left)
    }
  })
})

test('the unchanged directory opens', async () => {
  expect(await openDamaged(() => undefined, [model])).toBeNull()
})

test("the lock file of the index and the owner's socket may be missing", async () => {
  for (const bytes of [Buffer.alloc(0), Buffer.alloc(8192), Buffer.from('x'.repeat(8192))]) {
    expect(
      await openDamaged((directory) => writeFileSync(join(directory, 'index.mdb-lock'), bytes), [model]),
    ).toBeNull()
    expect(await openDamaged((directory) => writeFileSync(join(directory, 'owner.7.sock'), bytes), [model])).toBeNull()
  }
})

test('a journal file that lost its frames is noticed, unless all of them are applied', async () => {
  // The content of each file before its last use: all its frames are applied.
  for (const name of files(/^journal-/)) {
    const live = await openDamaged(
      edit(name, (bytes) => {
        const old = Buffer.from(bytes)
        old.fill(0, 64)
        return old
      }),
      name === lastJournal() ? [] : [model],
    ).catch((error: unknown) => error as Error)
    expect([name, isMillraceError(live, 'DATA_DAMAGED') || live === null]).toEqual([name, true])
  }
})
