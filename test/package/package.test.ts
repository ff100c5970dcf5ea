/**
 * The package as its users get it: packed, installed in another project without running any install script, imported by its public names.
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
/** npm may have to ask the registry. */
const INSTALL_MS = 90_000
const COMPILE_MS = 90_000
const execute = promisify(execFile)
const run = (command: string, args: readonly string[], options: { readonly cwd?: string; readonly timeout?: number } = {}): Promise<{ stdout: string }> =>
  execute(command, [...args], { timeout: RUN_MS, ...options, killSignal: 'SIGKILL' })

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
  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'user', type: 'module' }))
  // Without scripts: what is packed is what was built, and other tests may be using it.
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], { cwd: ROOT })
  const [packed] = JSON.parse(stdout) as { filename: string }[]
  await install(join(project, packed?.filename ?? ''))
  // The compiler's own needs, which a TypeScript project has.
  await link(['@types/node', 'undici-types'])
}, 150_000)

afterAll(() => rm(project, { recursive: true, force: true }))

/** As a user does. Without a network, outside CI, the dependencies are linked from here instead. */
async function install(tarball: string): Promise<void> {
  const options = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--silent']
  try {
    await run('npm', ['install', ...options, tarball], { cwd: project, timeout: INSTALL_MS })
  } catch (error) {
    if (process.env['CI'] === 'true') throw error
    console.warn('!!! npm could not install the package (no network?): its dependencies are linked from node_modules instead')
    await mkdir(installed, { recursive: true })
    await run('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'])
    await link(Object.keys(manifest.dependencies))
  }
}

/** Make packages that the checkout has visible to the user's project. */
async function link(names: readonly string[]): Promise<void> {
  for (const name of names) {
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
    const compile = (file: string): Promise<string> =>
      run(process.execPath, [join(ROOT, 'node_modules/typescript/lib/tsc.js'), '-p', file], { cwd: project, timeout: COMPILE_MS }).then(
        ({ stdout }) => stdout,
        // A compiler that was killed said nothing, which is no proof of anything.
        (error: { readonly killed: boolean; readonly stdout: string }) => (error.killed ? expect.fail('the compiler did not end') : error.stdout),
      )
    expect(await compile('tsconfig.json')).toBe('')
    await writeFile(join(project, 'wrong.ts'), `import { stream } from 'millrace'\nstream(1)\n`)
    await writeFile(join(project, 'wrong.json'), JSON.stringify({ compilerOptions, include: ['wrong.ts'] }))
    expect(await compile('wrong.json')).toContain("'number' is not assignable to parameter of type 'string'")
  }, 200_000)

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
