/**
 * The built package on Bun and on Deno: `npm run smoke:runtimes`. Packs what was built, and installs it with each
 * runtime into a temporary folder: the runtimes are no dependencies of the repository. The binaries come in the
 * platform packages of the npm packages `bun` and `deno`; no install script runs. A runtime that cannot be installed or
 * started is a failure, and the run says so.
 */
import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const BUN_VERSION = '1.4.5'
const DENO_VERSION = '2.9.6'
const INSTALL_MS = 300_000
const RUN_MS = 120_000

const PLATFORM = `${process.platform}-${process.arch}`
const BUN = {
  'linux-x64': '@oven/bun-linux-x64',
  'linux-arm64': '@oven/bun-linux-aarch64',
  'darwin-arm64': '@oven/bun-darwin-aarch64',
}
const DENO = {
  'linux-x64': '@deno/linux-x64-glibc',
  'linux-arm64': '@deno/linux-arm64-glibc',
  'darwin-arm64': '@deno/darwin-arm64',
}
const RUNTIMES = [
  { name: `Bun ${BUN_VERSION}`, library: BUN[PLATFORM], version: BUN_VERSION, binary: 'bin/bun', args: [] },
  {
    name: `Deno ${DENO_VERSION}`,
    library: DENO[PLATFORM],
    version: DENO_VERSION,
    binary: 'deno',
    args: ['run', '-A', '--node-modules-dir=manual'],
  },
]

const root = fileURLToPath(new URL('../..', import.meta.url))

function smoke({ name, library, version, binary, args }) {
  if (library === undefined) throw new Error(`no binary of it is known for ${PLATFORM}`)
  const folder = mkdtempSync(join(tmpdir(), 'millrace-runtime-'))
  const run = (command, given, timeout, cwd = folder) =>
    execFileSync(command, given, {
      cwd,
      timeout,
      encoding: 'utf8',
      env: { ...process.env, DENO_DIR: join(folder, 'deno'), DENO_NO_UPDATE_CHECK: '1' },
    })
  try {
    const packed = run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], INSTALL_MS, root)
    writeFileSync(join(folder, 'package.json'), '{"name":"smoke","private":true,"type":"module"}')
    copyFileSync(join(root, 'scripts/runtimes/program.mjs'), join(folder, 'program.mjs'))
    const tarball = join(folder, JSON.parse(packed)[0].filename)
    const options = ['--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund', '--silent']
    run('npm', ['install', ...options, tarball, `${library}@${version}`], INSTALL_MS)
    const runtime = join(folder, 'node_modules', library, binary)
    for (const phase of ['write', 'read'])
      console.log(
        run(runtime, [...args, 'program.mjs', phase], RUN_MS)
          .trim()
          .replaceAll(/^/gm, `${name}: `),
      )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

for (const runtime of RUNTIMES) {
  try {
    smoke(runtime)
  } catch (error) {
    process.exitCode = 1
    console.error(`!!! ${runtime.name} is NOT tested: ${error.message}`)
  }
}
