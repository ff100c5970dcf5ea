/**
 * The package as users get it: packed, installed in another project without install scripts, and imported by its public
 * names. Needs `npm run build` before it, as `npm test` does.
 */
import { execFile } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXPORTS } from './exports.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** Less than a test's limit, so that nothing is left running. */
const RUN_MS = 15_000
/** npm may have to ask the registry. */
const INSTALL_MS = 90_000
const COMPILE_MS = 90_000
const execute = promisify(execFile)
const run = (
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly timeout?: number } = {},
): Promise<{ stdout: string }> => execute(command, [...args], { timeout: RUN_MS, ...options, killSignal: 'SIGKILL' })

interface Manifest {
  readonly version: string
  readonly exports: Readonly<Record<string, unknown>>
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
  // Without scripts: the package contains the existing build, which other tests may be using.
  await writeFile(join(project, 'package.json'), JSON.stringify({ name: 'user', type: 'module' }))
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], {
    cwd: ROOT,
  })
  const [packed] = JSON.parse(stdout) as { filename: string }[]
  await install(join(project, packed?.filename ?? ''))
  // What the compiler needs, which a TypeScript project has.
  await link(['@types/node', 'undici-types'])
}, 150_000)

afterAll(() => rm(project, { recursive: true, force: true }))

/** Install as a user does. Without a network, outside CI, the dependencies are linked from this project instead. */
async function install(tarball: string): Promise<void> {
  const options = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--silent']
  try {
    await run('npm', ['install', ...options, tarball], { cwd: project, timeout: INSTALL_MS })
  } catch (error) {
    if (process.env['CI'] === 'true') throw error
    console.warn(
      '!!! npm could not install the package (no network?): its dependencies are linked from node_modules instead',
    )
    await mkdir(installed, { recursive: true })
    await run('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1'])
    await link(Object.keys(manifest.dependencies))
  }
}

/** Link packages of this checkout into the user's project. */
async function link(names: readonly string[]): Promise<void> {
  for (const name of names) {
    const path = join(project, 'node_modules', name)
    await mkdir(join(path, '..'), { recursive: true })
    await symlink(join(ROOT, 'node_modules', name), path)
  }
}

async function node(code: string, type: 'module' | 'commonjs' = 'module'): Promise<string> {
  const { stdout } = await run(process.execPath, ['--no-warnings', `--input-type=${type}`, '-e', code], {
    cwd: project,
  })
  return stdout.trim()
}

/** The compiler's messages about one file of the user's project. */
async function compile(file: string, text: string, options: Readonly<Record<string, unknown>>): Promise<string> {
  await writeFile(join(project, file), text)
  const config = join(project, `${file}.json`)
  const compilerOptions = {
    target: 'ES2023',
    strict: true,
    exactOptionalPropertyTypes: true,
    noEmit: true,
    types: ['node'],
    ...options,
  }
  await writeFile(config, JSON.stringify({ compilerOptions, include: [file] }))
  return run(process.execPath, [join(ROOT, 'node_modules/typescript/lib/tsc.js'), '-p', config], {
    cwd: project,
    timeout: COMPILE_MS,
  }).then(
    ({ stdout }) => stdout,
    // A compiler that was killed proves nothing.
    (error: { readonly killed: boolean; readonly stdout: string }) =>
      error.killed ? expect.fail('the compiler did not end') : error.stdout,
  )
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

  // In an ES module bundle, esbuild cannot provide Node's modules to a CommonJS library: "Dynamic require is not
  // supported".
  it.each(['esm', 'cjs'] as const)(
    'runs in a bundle that esbuild made as %s: gateway, WebSockets, and no banner',
    async (format) => {
      const code = `
      import { connect } from 'millrace'
      import { createGateway, serveGateway } from 'millrace/gateway'
      const run = async () => {
        const broker = await connect('memory:')
        const document = await createGateway(broker).fetch(new Request('http://localhost/openapi.json'))
        const gateway = await serveGateway(broker, { port: 0 })
        const remote = await connect(gateway.url.replace('http', 'ws'))
        console.log(document.status, (await remote.publish('notes', { type: 'noted' }).catch((error) => error)).code)
        await remote.close()
        await gateway.close()
        await broker.close()
      }
      void run()`
      const outfile = join(project, format === 'esm' ? 'bundle.mjs' : 'bundle.cjs')
      const stdin = { contents: code, resolveDir: project }
      await build({
        stdin,
        outfile,
        format,
        bundle: true,
        platform: 'node',
        target: 'node20',
        external: ['lmdb'],
        logLevel: 'silent',
      })
      expect((await run(process.execPath, [outfile], { cwd: project })).stdout.trim()).toBe('200 UNKNOWN_CHANNEL')
    },
    60_000,
  )

  it('compiles in a strict project', async () => {
    const imports = subpaths.map((subpath, index) => `import * as entry${index} from 'millrace${subpath.slice(1)}'`)
    const text = `${imports.join('\n')}\nconsole.log(${subpaths.map((_, index) => `entry${index}`).join(', ')})\n`
    expect(await compile('main.ts', text, { module: 'NodeNext' })).toBe('')
    expect(
      await compile('wrong.ts', `import { stream } from 'millrace'\nstream(1)\n`, { module: 'NodeNext' }),
    ).toContain("'number' is not assignable to parameter of type 'string'")
  }, 200_000)

  it('is the same module for CommonJS', async () => {
    const names = `Object.fromEntries(${JSON.stringify(subpaths)}.map((path) => [path, Object.keys(require('millrace' + path.slice(1))).sort()]))`
    expect(JSON.parse(await node(`console.log(JSON.stringify(${names}))`, 'commonjs'))).toEqual(EXPORTS)
    expect(
      await node(`import('millrace').then((m) => console.log(m.connect === require('millrace').connect))`, 'commonjs'),
    ).toBe('true')
  })

  it('compiles in a strict project of CommonJS modules', async () => {
    const entries = subpaths
      .map((subpath, index) => `import * as entry${index} from 'millrace${subpath.slice(1)}'`)
      .join('\n')
    const use = `
      import { type Broker, connect, consumer, event, MillraceError, stream } from 'millrace'
      const Greeted = event('greeted')
      const greetings = stream('greetings', { events: [Greeted] })
      export async function main(): Promise<MillraceError | null> {
        const broker: Broker = await connect('memory:')
        await broker.start(consumer('k', greetings).on(Greeted, (given, ctx) => { given.offset satisfies number; void ctx.emit(greetings, Greeted(1)) }))
        return new MillraceError('CLOSED', 'x')
      }
      console.log(${subpaths.map((_, index) => `entry${index}`).join(', ')})`
    expect(await compile('main.cts', `${entries}\n${use}\n`, { module: 'Node16' })).toBe('')
    const wrong = `import { stream } from 'millrace'\nstream(1)\n`
    expect(await compile('wrong.cts', wrong, { module: 'Node16' })).toContain(
      "'number' is not assignable to parameter of type 'string'",
    )
  }, 200_000)

  it('compiles without newer lib settings, and ends by `await using`', async () => {
    const use = `
      import { type Broker, connect, consumer, type Running, stream } from 'millrace'
      export async function main(): Promise<void> {
        await using broker: Broker = await connect('memory:')
        await using running: Running = await broker.start(consumer('k', stream('a')).onAny(() => {}))
        console.log(running.name)
      }`
    expect(
      await compile('disposing.ts', use, { target: 'ES2022', lib: ['ES2022'], module: 'Node16', skipLibCheck: false }),
    ).toBe('')
  }, 100_000)

  it('holds what its pages link to', () => {
    const pages = [
      ...readdirSync(installed),
      ...readdirSync(join(installed, 'docs'), { recursive: true }).map((path) => join('docs', String(path))),
    ]
    const dead = pages
      .filter((page) => page.endsWith('.md'))
      .flatMap((page) => {
        const links = [...readFileSync(join(installed, page), 'utf8').matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)].map(
          ([, path = '']) => path,
        )
        return links
          .filter((path) => !existsSync(join(installed, dirname(page), path)))
          .map((path) => `${page}: ${path}`)
      })
    expect(dead).toEqual([])
  })
  it('holds what its README links to', async () => {
    const links = [...readFileSync(join(installed, 'README.md'), 'utf8').matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)].map(
      ([, path = '']) => path,
    )
    expect(links.length).toBeGreaterThan(10)
    expect(links.filter((path) => !existsSync(join(installed, path)))).toEqual([])
  })

  it('has its licence, and neither sources nor tests', async () => {
    const files = await readdir(installed)
    expect(files).toEqual(expect.arrayContaining(['LICENSE', 'dist', 'package.json']))
    expect(
      files.filter((name) => ['src', 'test', 'bench', 'examples', 'scripts', 'node_modules'].includes(name)),
    ).toEqual([])
  })

  it('has no source maps, whose sources it does not have, and no raw results of test runs', async () => {
    const files = await readdir(installed, { recursive: true })
    expect(files.filter((name) => name.endsWith('.map') || name.endsWith('conformance.json'))).toEqual([])
    expect(files.length).toBeGreaterThan(500)
  })

  it('has a command that says its version and how it is used', async () => {
    const command = (...args: string[]): Promise<{ stdout: string }> =>
      run(process.execPath, [join(installed, manifest.bin['millrace'] ?? ''), ...args], { cwd: project })
    expect((await command('--version')).stdout).toContain(manifest.version)
    expect((await command('--help')).stdout).toContain('Usage: millrace')
  })
})
