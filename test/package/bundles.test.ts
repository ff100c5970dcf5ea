/**
 * A program with Millrace, bundled by esbuild, Vite and webpack, and run: it publishes, handles and closes on `memory:`
 * and `file:`, and loads an engine's client library. docs/guide/bundling.md lists what stays external. Needs `npm run
 * build` before it, as `npm test` does.
 */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build as buildWithEsbuild } from 'esbuild'
import { build as buildWithVite } from 'vite'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ROOT } from '../house/sources.ts'

const execute = promisify(execFile)
/** Less than a test's limit, so that nothing is left running. */
const RUN_MS = 30_000
const TEST_MS = 120_000
const WEBPACK = join(import.meta.dirname, 'bundle-with-webpack.mjs')
/** The only list of what stays outside a bundle; the page lists the same. */
const EXTERNAL = ['lmdb', 'ws']

const PROGRAM = `
import { connect, consumer, isMillraceError, stream } from 'millrace'
const notes = stream('notes')
const run = async () => {
  for (const url of ['memory:', 'file:./data-' + process.argv[2]]) {
    const broker = await connect(url)
    const handled = new Promise((done) => broker.start(consumer('reader', notes).onAny(({ data }) => done(data))))
    await broker.publish(notes, { type: 'noted', data: url.slice(0, 4) })
    console.log(await handled)
    await broker.close()
  }
  const refusal = await connect('kafka://127.0.0.1:1').catch((error) => error)
  console.log(isMillraceError(refusal, 'MISSING_DEPENDENCY') ? refusal.details.library : String(refusal))
}
void run()
`
const SAYS = 'memo\nfile\n@platformatic/kafka'

let folder: string
let entry: string

beforeAll(async () => {
  if (!existsSync(join(ROOT, 'dist/index.js'))) expect.fail('there is no dist: run `npm run build` first')
  folder = await mkdtemp(join(tmpdir(), 'millrace-bundle-'))
  await writeFile(join(folder, 'package.json'), '{"name":"bundled","private":true}')
  // The bundle is made from the build, and finds only the external packages beside it.
  await mkdir(join(folder, 'source/node_modules'), { recursive: true })
  await symlink(ROOT, join(folder, 'source/node_modules/millrace'))
  await writeFile(join(folder, 'source/program.mjs'), PROGRAM)
  entry = join(folder, 'source/program.mjs')
  await mkdir(join(folder, 'node_modules'))
  for (const name of EXTERNAL) await symlink(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

async function says(bundle: string, name: string): Promise<string> {
  const { stdout } = await execute(process.execPath, [bundle, name], {
    cwd: folder,
    timeout: RUN_MS,
    killSignal: 'SIGKILL',
  })
  return stdout.trim()
}

it.each(['esm', 'cjs'] as const)(
  'esbuild, as %s',
  async (format) => {
    const outfile = join(folder, format === 'esm' ? 'esbuild.mjs' : 'esbuild.cjs')
    const { warnings } = await buildWithEsbuild({
      entryPoints: [entry],
      outfile,
      format,
      bundle: true,
      platform: 'node',
      target: 'node20',
      external: EXTERNAL,
      logLevel: 'silent',
      logOverride: { 'empty-import-meta': 'silent' },
    })
    expect(warnings).toEqual([])
    expect(await says(outfile, `esbuild-${format}`)).toBe(SAYS)
  },
  TEST_MS,
)

it(
  'Vite, as a server build',
  async () => {
    await buildWithVite({
      root: folder,
      configFile: false,
      logLevel: 'silent',
      build: {
        ssr: entry,
        outDir: join(folder, 'vite'),
        emptyOutDir: true,
        target: 'node20',
        rolldownOptions: { output: { entryFileNames: 'program.mjs' } },
      },
      ssr: { noExternal: true, external: EXTERNAL },
    })
    expect(await says(join(folder, 'vite/program.mjs'), 'vite')).toBe(SAYS)
  },
  TEST_MS,
)

it.each(['module', 'commonjs'] as const)(
  'webpack, as %s',
  async (type) => {
    const file = join(folder, `webpack-${type}`, type === 'module' ? 'program.mjs' : 'program.cjs')
    const { stdout } = await execute(process.execPath, [WEBPACK, entry, file, type, ...EXTERNAL], {
      cwd: ROOT,
      timeout: TEST_MS / 2,
      killSignal: 'SIGKILL',
    })
    expect(JSON.parse(stdout)).toEqual([])
    expect(await says(file, `webpack-${type}`)).toBe(SAYS)
  },
  TEST_MS,
)

it('the guide names what stays external', () => {
  const page = readFileSync(join(ROOT, 'docs/guide/bundling.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name]) => name)
  expect(rows).toEqual(expect.arrayContaining(EXTERNAL))
})
