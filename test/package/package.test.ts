/**
 * The package as its users get it: packed, unpacked into another project, imported by its public names.
 * Needs `npm run build` before it, as `npm test` does.
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXPORTS } from './exports.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Less than a test may take, so that nothing is left running. */
const RUN_MS = 15_000
const execute = promisify(execFile)
const run = (command: string, args: readonly string[], options: { readonly cwd?: string } = {}): Promise<{ stdout: string }> =>
  execute(command, [...args], { ...options, timeout: RUN_MS, killSignal: 'SIGKILL' })

interface Manifest {
  readonly version: string
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>
  readonly bin: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest
const subpaths = Object.keys(manifest.exports).filter((path) => path !== './package.json')

let project: string
let installed: string

beforeAll(async () => {
  if (!existsSync(join(ROOT, 'dist/index.js'))) expect.fail('there is no dist: run `npm run build` first')
  project = await mkdtemp(join(tmpdir(), 'millrace-package-'))
  installed = join(project, 'node_modules/millrace')
  // Without scripts: what is packed is what was built, and other tests may be using it.
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], { cwd: ROOT })
  const [packed] = JSON.parse(stdout) as { filename: string }[]
  await mkdir(installed, { recursive: true })
  await run('tar', ['-xzf', join(project, packed?.filename ?? ''), '-C', installed, '--strip-components=1'])
  await linkDependencies()
  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'user', type: 'module' }))
}, 60_000)

afterAll(() => rm(project, { recursive: true, force: true }))

/** What `npm install` would bring: the dependencies, and nothing that only we have. */
async function linkDependencies(): Promise<void> {
  for (const name of [...Object.keys(manifest.dependencies), '@types/node', 'undici-types']) {
    const path = join(project, 'node_modules', name)
    await mkdir(join(path, '..'), { recursive: true })
    await symlink(join(ROOT, 'node_modules', name), path)
  }
}

async function node(code: string): Promise<string> {
  const { stdout } = await run(process.execPath, ['--input-type=module', '-e', code], { cwd: project })
  return stdout.trim()
}

describe('the package', () => {
  it('has the public entries that are listed', () => {
    expect(subpaths.sort()).toEqual(Object.keys(EXPORTS).sort())
  })

  it.each(subpaths)('%s exports what is listed', async (subpath) => {
    const specifier = `millrace${subpath.slice(1)}`
    const names = await node(`console.log(JSON.stringify(Object.keys(await import('${specifier}')).sort()))`)
    expect(JSON.parse(names)).toEqual(EXPORTS[subpath])
  })

  it('keeps everything else to itself', async () => {
    await expect(node(`await import('millrace/dist/base/errors.js')`)).rejects.toThrow('ERR_PACKAGE_PATH_NOT_EXPORTED')
  })

  it('carries events, on both embedded engines', async () => {
    const code = `
      import { connect, consumer, stream } from 'millrace'
      for (const url of ['memory:', 'file:./data']) {
        const broker = await connect(url)
        const greetings = stream('greetings')
        await broker.publish(greetings, { type: 'greeting', data: 'hello' })
        const handled = new Promise((done) => broker.start(consumer('greeter', greetings).onAny(({ data }) => done(data))))
        console.log(await handled)
        await broker.close()
      }`
    expect(await node(code)).toBe('hello\nhello')
  })

  it('compiles in a strict project', async () => {
    const imports = subpaths.map((subpath, index) => `import * as entry${index} from 'millrace${subpath.slice(1)}'`)
    await writeFile(join(project, 'main.ts'), `${imports.join('\n')}\nconsole.log(${subpaths.map((_, index) => `entry${index}`).join(', ')})\n`)
    const compilerOptions = { module: 'NodeNext', target: 'ES2023', strict: true, exactOptionalPropertyTypes: true, noEmit: true, types: ['node'] }
    await writeFile(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['main.ts'] }))
    const compiled = await run(process.execPath, [join(ROOT, 'node_modules/typescript/lib/tsc.js'), '-p', project]).catch((error: { stdout: string }) => error)
    expect(compiled.stdout).toBe('')
  }, 60_000)

  it('has its licence, and neither sources nor tests', async () => {
    const files = await readdir(installed)
    expect(files).toEqual(expect.arrayContaining(['LICENSE', 'dist', 'package.json']))
    expect(files.filter((name) => ['src', 'test', 'bench', 'examples', 'scripts', 'node_modules'].includes(name))).toEqual([])
  })

  it('has a command that says its version and how it is used', async () => {
    const command = (...args: string[]): Promise<{ stdout: string }> =>
      run(process.execPath, [join(installed, manifest.bin['millrace'] ?? ''), ...args], { cwd: project })
    expect((await command('--version')).stdout).toContain(manifest.version)
    expect((await command('--help')).stdout).toContain('Usage: millrace')
  })
})
