/**
 * Things that can happen to a directory and to the files that name its owner: there is never a second owner, nothing
 * acknowledged is lost, and a process that cannot reach the owner is told so.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeAll, expect, test } from 'vitest'
import { type Broker, connect, isMillraceError, stream } from '../../src/index.ts'

const notes = stream('notes')
const NOBODY = '65534'

interface Said {
  readonly open?: boolean
  readonly pid?: number
  readonly offset?: number
  readonly code?: string
  readonly message?: string
  readonly details?: { readonly pid?: number; readonly met?: string; readonly errno?: string }
}

class Child {
  readonly process: ChildProcess
  readonly #said: Said[] = []
  #wake: (() => void) | null = null
  #errors = ''

  constructor(
    directory: string,
    name: string,
    options: {
      readonly env?: NodeJS.ProcessEnv
      readonly args?: readonly string[]
      readonly before?: readonly string[]
    } = {},
  ) {
    const node = [
      process.execPath,
      join(import.meta.dirname, 'owner-child.mjs'),
      directory,
      name,
      ...(options.args ?? []),
    ]
    const [command, ...args] = [...(options.before ?? []), ...node] as [string, ...string[]]
    this.process = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...options.env } })
    this.process.stdin?.on('error', () => undefined)
    this.process.stderr?.on('data', (chunk: Buffer) => {
      this.#errors += chunk.toString()
    })
    let text = ''
    this.process.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n')) {
        this.#said.push(JSON.parse(text.slice(0, end)) as Said)
        text = text.slice(end + 1)
      }
      this.#wake?.()
    })
    this.process.once('exit', () => this.#wake?.())
    children.push(this)
  }

  async said(): Promise<Said> {
    while (this.#said.length === 0) {
      if (this.process.exitCode !== null) throw new Error(`it ended without a word: ${this.#errors}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.#said.shift() as Said
  }

  async publish(text = 'x'): Promise<Said> {
    this.process.stdin?.write(`${text}\n`)
    return this.said()
  }

  async end(signal?: NodeJS.Signals): Promise<void> {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return
    const ended = new Promise((resolve) => this.process.once('exit', resolve))
    if (signal === undefined) this.process.stdin?.end()
    else this.process.kill(signal)
    await ended
  }
}

const children: Child[] = []
const folders: string[] = []
const brokers: Broker[] = []

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), 'millrace-'))
  folders.push(made)
  return made
}

async function owner(directory: string): Promise<Broker> {
  const broker = await connect(`file:${directory}`)
  brokers.push(broker)
  await broker.publish(notes, { type: 'note', data: 'first' })
  return broker
}

function removeNamed(directory: string, pattern: RegExp): void {
  for (const name of readdirSync(directory)) if (pattern.test(name)) rmSync(join(directory, name), { recursive: true })
}

async function stored(directory: string): Promise<unknown[]> {
  const broker = await connect(`file:${directory}`)
  const found: unknown[] = []
  for await (const { data } of broker.read('notes')) found.push(data)
  await broker.close()
  return found
}

beforeAll(() => {
  if (!existsSync(join(import.meta.dirname, '../../dist/index.js')))
    throw new Error('the test runs the built package: npm run build')
})

afterEach(async () => {
  for (const child of children.splice(0)) await child.end('SIGKILL')
  for (const broker of brokers.splice(0)) await broker.close().catch(() => undefined)
  for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true })
})

test("the owner's socket is removed: the owner puts it back, and another process attaches", async () => {
  const directory = folder()
  const broker = await owner(directory)
  removeNamed(directory, /\.sock$/)
  const child = new Child(directory, 'second')
  expect(await child.said()).toMatchObject({ open: true })
  expect(await child.publish()).toEqual({ offset: 1 })
  expect(await broker.publish(notes, { type: 'note', data: 'again' })).toMatchObject({ offset: 2 })
  await child.end()
  await brokers.pop()?.close()
  expect(await stored(directory)).toEqual(['first', 'second x', 'again'])
})

test('the lock, the record and the socket are all removed: no other process takes over, and the owner acknowledges nothing that could be lost', async () => {
  const directory = folder()
  const broker = await owner(directory)
  removeNamed(directory, /^owner/)
  const child = new Child(directory, 'second')
  const acknowledged = ['first']
  const code = await broker.publish(notes, { type: 'note', data: 'again' }).then(
    () => acknowledged.push('again'),
    (error: unknown) => (isMillraceError(error) ? error.code : error),
  )
  if (typeof code === 'string') expect(code).toBe('STORE_FAILED')
  const said = await child.said()
  if (said.open === true && (await child.publish()).offset !== undefined) acknowledged.push('second x')
  await child.end()
  await brokers
    .pop()
    ?.close()
    .catch(() => undefined)
  const found = await stored(directory)
  expect(found.filter((data) => acknowledged.includes(data as string))).toEqual(acknowledged)
  // The refused publish may have been written before the check that refused it. Its sender was told neither that it is
  // stored nor that it is not.
  expect(found.filter((data) => data !== 'again' && !acknowledged.includes(data as string))).toEqual([])
})

test.each(['owner.mdb-lock', 'owner.mdb', 'owner.json'])(
  '%s alone is removed: the owner goes on, and others attach',
  async (name) => {
    const directory = folder()
    const broker = await owner(directory)
    rmSync(join(directory, name))
    const child = new Child(directory, 'second')
    expect(await child.said()).toMatchObject({ open: true })
    expect(await child.publish()).toEqual({ offset: 1 })
    expect(await broker.publish(notes, { type: 'note', data: 'again' })).toMatchObject({ offset: 2 })
    // LMDB creates it at the next opening.
    if (name !== 'owner.mdb') await expect.poll(() => existsSync(join(directory, name))).toBe(true)
    // Without its socket, the new lock keeps other processes out.
    const socket = readdirSync(directory).find((each) => each.endsWith('.sock')) as string
    rmSync(join(directory, socket))
    const third = new Child(directory, 'third')
    expect(await third.said()).toMatchObject({ open: true })
    expect(await third.publish()).toEqual({ offset: 3 })
  },
)

test('a path too long for a socket, and another TMPDIR: the other process attaches', async () => {
  const base = folder()
  const directory = join(base, 'a'.repeat(60), 'b'.repeat(60))
  const broker = await owner(directory)
  const other = join(base, 'tmp')
  mkdirSync(other)
  const child = new Child(directory, 'second', { env: { TMPDIR: other } })
  expect(await child.said()).toMatchObject({ open: true })
  expect(await child.publish()).toEqual({ offset: 1 })
  expect(await broker.publish(notes, { type: 'note', data: 'again' })).toMatchObject({ offset: 2 })
})

test("another user's process is told that it may not connect to the owner, and does not take over", async ({
  skip,
}) => {
  if (process.getuid?.() !== 0) skip('only root has a second user')
  const directory = folder()
  const broker = await owner(directory)
  chmodSync(directory, 0o777)
  const child = new Child(directory, 'other', { args: [`user=${NOBODY}`] })
  expect(await child.said()).toMatchObject({ open: false, code: 'DIRECTORY_IN_USE', details: { met: 'forbidden' } })
  removeNamed(directory, /\.sock$/)
  const again = new Child(directory, 'other', { args: [`user=${NOBODY}`] })
  expect(await again.said()).toMatchObject({ open: false, code: expect.stringMatching(/^DIRECTORY_/) })
  expect(await broker.publish(notes, { type: 'note', data: 'again' })).toMatchObject({ offset: 1 })
  await brokers.pop()?.close()
  expect(await stored(directory)).toEqual(['first', 'again'])
})

test("a directory that its group may write to is the group's: another user of it attaches", async ({ skip }) => {
  if (process.getuid?.() !== 0) skip('only root has a second user')
  const base = folder()
  chmodSync(base, 0o755)
  const directory = join(base, 'shared')
  mkdirSync(directory)
  spawnSync('chown', [`0:${NOBODY}`, directory])
  chmodSync(directory, 0o2770)
  const broker = await owner(directory)
  for (const name of readdirSync(directory))
    expect([name, statSync(join(directory, name)).mode & 0o777]).toEqual([name, 0o660])
  const child = new Child(directory, 'other', { args: [`user=${NOBODY}`] })
  expect(await child.said()).toMatchObject({ open: true })
  expect(await child.publish()).toEqual({ offset: 1 })
  await broker.close()
  expect(await child.publish()).toEqual({ offset: 2 })
})

test('a directory that is made, and all in it, are for its user alone, whatever the umask; and so are files that were not', async () => {
  const base = folder()
  const directory = join(base, 'data')
  const before = process.umask(0)
  try {
    await owner(directory)
    expect(statSync(directory).mode & 0o777).toBe(0o700)
    for (const name of readdirSync(directory))
      expect([name, statSync(join(directory, name)).mode & 0o777]).toEqual([name, 0o600])
    await brokers.pop()?.close()
    for (const name of readdirSync(directory)) chmodSync(join(directory, name), 0o666)
    await owner(directory)
    for (const name of readdirSync(directory))
      expect([name, statSync(join(directory, name)).mode & 0o777]).toEqual([name, 0o600])
  } finally {
    process.umask(before)
  }
})

test('an owner in namespaces of its own, as in a container, and one outside: they share the directory, and its death is seen', async ({
  skip,
}) => {
  const unshare = ['unshare', '--pid', '--net', '--fork', '--kill-child']
  if (spawnSync(unshare[0] as string, [...unshare.slice(1), 'true']).status !== 0)
    skip('this user may not make namespaces')
  const directory = folder()
  const inside = new Child(directory, 'inside', { before: unshare })
  expect(await inside.said()).toEqual({ open: true, pid: 1 })
  expect(await inside.publish()).toEqual({ offset: 0 })
  removeNamed(directory, /\.sock$/)
  const second = new Child(directory, 'second', { before: unshare })
  expect(await second.said()).toEqual({ open: true, pid: 1 })
  expect(await second.publish()).toEqual({ offset: 1 })
  await inside.end('SIGKILL')
  expect(await second.publish()).toEqual({ offset: 2 })
  await second.end()
  expect(await stored(directory)).toEqual(['inside x', 'second x', 'second x'])
})

test('an owner that ends while it is asked who it is leaves a directory that can be opened', async () => {
  const directory = folder()
  mkdirSync(directory, { recursive: true })
  let asked = 0
  const dying = createServer((socket) => {
    asked++
    socket.destroy()
    dying.close()
  })
  await new Promise<void>((resolve) => dying.listen(join(directory, 'owner.1.sock'), resolve))
  const broker = await connect(`file:${directory}`)
  await broker.close()
  expect(asked).toBe(1)
})

test('an owner that is stopped, whose socket is gone, is not taken for dead; it goes on when it is let', async () => {
  const directory = folder()
  const first = new Child(directory, 'first')
  await first.said()
  expect(await first.publish()).toEqual({ offset: 0 })
  first.process.kill('SIGSTOP')
  const silent = new Child(directory, 'second')
  expect(await silent.said()).toMatchObject({
    open: false,
    code: 'DIRECTORY_IN_USE',
    details: { met: 'silent', pid: first.process.pid },
  })
  removeNamed(directory, /\.sock$/)
  const second = new Child(directory, 'second')
  expect(await second.said()).toMatchObject({
    open: false,
    code: 'DIRECTORY_IN_USE',
    details: { met: 'unreachable', pid: first.process.pid },
  })
  first.process.kill('SIGCONT')
  expect(await first.publish()).toEqual({ offset: 1 })
})

test('an owner that was stopped while its lock was removed and another took over stores and acknowledges nothing more', async () => {
  const directory = folder()
  const first = new Child(directory, 'first')
  await first.said()
  expect(await first.publish()).toEqual({ offset: 0 })
  first.process.kill('SIGSTOP')
  removeNamed(directory, /^owner/)
  const second = new Child(directory, 'second')
  expect(await second.said()).toMatchObject({ open: true })
  expect(await second.publish()).toEqual({ offset: 1 })
  first.process.kill('SIGCONT')
  expect(await first.publish()).toMatchObject({ code: 'STORE_FAILED' })
  expect(await second.publish()).toEqual({ offset: 2 })
  await first.end()
  await second.end()
  expect(await stored(directory)).toEqual(['first x', 'second x', 'second x'])
})

test.each([
  ['deleted', (directory: string) => rmSync(directory, { recursive: true })],
  ['renamed', (directory: string) => renameSync(directory, `${directory}.away`)],
  [
    'replaced',
    (directory: string) => {
      renameSync(directory, `${directory}.away`)
      mkdirSync(directory)
    },
  ],
])('the directory is %s while it is open: nothing more is acknowledged, and an alarm says why', async (_what, act) => {
  const directory = join(folder(), 'data')
  const alarms: string[] = []
  const broker = await connect(`file:${directory}`, { onAlarm: ({ code }) => alarms.push(code) })
  brokers.push(broker)
  await broker.publish(notes, { type: 'note', data: 'first' })
  act(directory)
  await new Promise((resolve) => setTimeout(resolve, 10))
  await expect(broker.publish(notes, { type: 'note', data: 'lost' })).rejects.toSatisfy((error) =>
    isMillraceError(error, 'STORE_FAILED'),
  )
  expect(alarms).toEqual(['STORE_FAILED'])
  // If the store has failed, closing reports it.
  await broker.close().catch(() => undefined)
  expect(existsSync(directory) ? readdirSync(directory) : []).toEqual([])
})

test('a second thread of the process attaches, and the first keeps the directory', async () => {
  const directory = folder()
  const broker = await owner(directory)
  const run = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const code = `import { parentPort, workerData } from 'node:worker_threads'
        const { connect } = await import(workerData.entry)
        const broker = await connect(workerData.url)
        const { offset } = await broker.publish('notes', { type: 'note', data: 'thread' })
        await broker.close()
        parentPort.postMessage(offset)`
      const entry = new URL('../../dist/index.js', import.meta.url).href
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`), {
        workerData: { entry, url: `file:${directory}` },
      })
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  expect(await run()).toBe(1)
  removeNamed(directory, /\.sock$/)
  expect(await run()).toBe(2)
  const child = new Child(directory, 'second')
  expect(await child.said()).toMatchObject({ open: true })
  expect(await broker.publish(notes, { type: 'note', data: 'again' })).toMatchObject({ offset: 3 })
})

test.each([
  ['a file in its place', 'EEXIST', (base: string) => join(base, 'file')],
  ['a file on its way', 'ENOTDIR', (base: string) => join(base, 'file', 'data')],
  ['a name that is too long', 'ENAMETOOLONG', (base: string) => join(base, 'x'.repeat(300))],
])('%s is an error with a code that says what to do', async (_what, errno, path) => {
  const base = folder()
  writeFileSync(join(base, 'file'), '')
  await expect(connect(`file:${path(base)}`)).rejects.toSatisfy(
    (error) => isMillraceError(error, 'DIRECTORY_UNUSABLE') && error.details['errno'] === errno,
  )
})

test.runIf(process.platform === 'linux')(
  'a directory that cannot be made is an error with a code, and the process goes on',
  async () => {
    const unusable = { code: 'DIRECTORY_UNUSABLE', details: { errno: 'ENOENT' } }
    await expect(connect('file:/proc/1/data/deep')).rejects.toMatchObject(unusable)
    const base = folder()
    symlinkSync(join(base, 'nowhere'), join(base, 'link'))
    await expect(connect(`file:${join(base, 'link', 'data')}`)).rejects.toMatchObject({ code: 'DIRECTORY_UNUSABLE' })
    const broker = await connect(`file:${join(base, 'data')}`)
    await expect(broker.backup('/proc/1/backup')).rejects.toMatchObject(unusable)
    await expect(broker.backup('a\0b')).rejects.toMatchObject({ code: 'INVALID_OPTION' })
    await broker.close()
  },
)

test("another user's directory is an error with a code that says what to do", async ({ skip }) => {
  if (process.getuid?.() !== 0) skip('only root has a second user')
  const directory = folder()
  const child = new Child(directory, 'other', { args: [`user=${NOBODY}`] })
  expect(await child.said()).toMatchObject({ open: false, code: 'DIRECTORY_UNUSABLE', details: { errno: 'EACCES' } })
})

test.each([0, 3, 8, 16, 23, 24, 30])(
  'with %i descriptors free, opening succeeds or is refused with a code, and the data is not called damaged',
  async (free) => {
    const directory = folder()
    await owner(directory)
    await brokers.pop()?.close()
    const child = new Child(directory, 'few', {
      before: ['sh', '-c', 'ulimit -n 128; exec "$0" "$@"'],
      args: [`free=${free}`],
    })
    const said = await child.said()
    if (said.open === true) expect(await child.publish()).toEqual({ offset: 1 })
    else expect(said).toMatchObject({ code: 'TOO_MANY_FILES' })
  },
)

test("a directory of somebody else's is left as it was", async () => {
  const directory = folder()
  writeFileSync(join(directory, 'letter.txt'), 'mine')
  await expect(connect(`file:${directory}`)).rejects.toSatisfy((error) => isMillraceError(error, 'DATA_FOREIGN'))
  expect(readdirSync(directory)).toEqual(['letter.txt'])
})
