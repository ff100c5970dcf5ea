import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterEach, describe, expect, test } from 'vitest'
import { CLIENT_LIBRARIES, loadClient } from '../../src/broker/client-library.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

/** A library `ioredis` of some version, installed in a folder of its own. */
function installed(version: string, text = 'export const loaded = true'): string {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-client-'))
  folders.push(folder)
  mkdirSync(join(folder, 'built'))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'ioredis', version, type: 'module' }))
  writeFileSync(join(folder, 'built', 'index.js'), text)
  return pathToFileURL(join(folder, 'built', 'index.js')).href
}

const at = (url: string) => ({ resolve: () => url, import: (each: string): Promise<unknown> => import(each) })

describe('client libraries', () => {
  test('one that is not installed is named, with what to install', async () => {
    const nowhere = {
      resolve: (name: string) => import.meta.resolve(`${name}-not-installed-anywhere`),
      import: () => Promise.reject(new Error('never called')),
    }
    await expect(loadClient('ioredis', nowhere)).rejects.toMatchObject({
      code: 'MISSING_DEPENDENCY',
      message: expect.stringContaining('npm install ioredis@^6.0.0'),
    })
  })

  test.each(['4.28.5', '5.11.1', '5.12.9', '7.0.0'])('version %s is refused by its number', async (version) => {
    await expect(loadClient('ioredis', at(installed(version)))).rejects.toMatchObject({
      code: 'MISSING_DEPENDENCY',
      message: expect.stringContaining(`${version} is installed`),
      details: { library: 'ioredis', version },
    })
  })

  test.each(['6.0.0', '6.0.10', '6.1.0'])('version %s is loaded', async (version) => {
    await expect(loadClient('ioredis', at(installed(version)))).resolves.toMatchObject({ loaded: true })
  })

  test('one that cannot be loaded says so', async () => {
    const broken = at(installed('6.0.0', 'throw new Error("broken")'))
    await expect(loadClient('ioredis', broken)).rejects.toMatchObject({
      code: 'MISSING_DEPENDENCY',
      cause: expect.objectContaining({ message: 'broken' }),
    })
  })

  test('the versions that are supported are those that are tested with', () => {
    const { devDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
      readonly devDependencies: Readonly<Record<string, string>>
    }
    for (const [name, { from }] of Object.entries(CLIENT_LIBRARIES))
      expect([name, devDependencies[name]]).toEqual([name, from])
  })
})
