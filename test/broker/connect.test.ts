/** What `connect` takes: URLs of directories in every form, and options where they mean something. */
import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { directoryOf, urlOfDirectory } from '../../src/engines/embedded/directory-url.ts'
import { type ConnectOptions, connect, isMillraceError } from '../../src/index.ts'

let base: string
beforeEach(() => {
  base = realpathSync(mkdtempSync(join(tmpdir(), 'millrace-')))
})
afterEach(() => rmSync(base, { recursive: true, force: true }))

test.each(['a b', '100%', 'q?x=1', 'h#1', 'ünï', '日本', "it's", 'a&b', '%41'])(
  'the directory "%s" is named by its URL',
  async (name) => {
    expect(directoryOf(urlOfDirectory(join(base, name)))).toBe(join(base, name))
    expect(directoryOf(pathToFileURL(join(base, name)).href)).toBe(join(base, name))
    await (await connect(pathToFileURL(join(base, name)))).close()
    await (await connect(urlOfDirectory(join(base, name)).replace('file', 'FILE'))).close()
    expect(readdirSync(base)).toEqual([name])
  },
)

test.each([
  'file:',
  'file:./100%data',
  'file:./%E0%A4%A',
  'file:./q?x=1',
  'file:./h#1',
  'file:///q?x=1',
  'file://./data',
  'file://data/x',
  'file:~/data',
  'file:./nul\0',
  'file:C:\\data',
  'memory:x',
  'memory:?x',
])('%j is refused, and nothing is made', async (url) => {
  await expect(connect(url)).rejects.toSatisfy((error) => isMillraceError(error, 'INVALID_OPTION'))
  await expect(connect(url.startsWith('file') ? url : 'data')).rejects.toSatisfy((error) => isMillraceError(error))
})

test.each<[string, unknown]>([
  ['memory:', { readOnly: true }],
  ['memory:', { token: 't' }],
  ['file:/nowhere', { token: 't' }],
  ['ws://localhost:1', { readOnly: true }],
  ['unix:/nowhere', { token: 't' }],
  ['nats://localhost:1', { readOnly: true }],
  ['redis://localhost:1', { token: 't' }],
  ['kafka://localhost:1', { readOnly: true }],
  ['memory:', { readOnly: 'yes' }],
  ['memory:', { source: 5 }],
  ['memory:', { onAlarm: 'log' }],
  ['memory:', { read_only: true }],
  ['memory:', null],
  ['memory:', 'readOnly'],
])('%s with %j is refused: the option means nothing there, or is of a wrong type', async (url, options) => {
  await expect(connect(url, options as ConnectOptions)).rejects.toSatisfy((error) =>
    isMillraceError(error, 'INVALID_OPTION'),
  )
})

test.each([undefined, null, 5, '', 'data', './data', 'constructor:', 'rabbitmq://x', Symbol('x')])(
  '%s names no engine',
  async (url) => {
    await expect(connect(url as string)).rejects.toSatisfy((error) => isMillraceError(error, 'UNKNOWN_ENGINE'))
  },
)
