/**
 * Build the console into `dist/console`, with the licences of what is bundled in THIRD-PARTY.txt. Does nothing when
 * neither its sources nor the versions of its parts have changed since the last build.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const target = join(root, 'dist/console')
const stamp = join(target, '.built-from')

function sourceHash() {
  const hash = createHash('sha256')
  const add = (path) =>
    hash
      .update(path)
      .update('\0')
      .update(readFileSync(join(root, path)))
      .update('\0')
  for (const path of ['package-lock.json', 'scripts/build-console.mjs']) add(path)
  const sources = readdirSync(join(root, 'console'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length))
    .sort()
  for (const path of sources) add(path)
  return hash.digest('hex')
}

/** Vite does not list what workers are made of. */
const IN_WORKERS = ['@dagrejs/dagre', '@dagrejs/graphlib']

function inWorkers() {
  return IN_WORKERS.map((name) => {
    const folder = join(root, 'node_modules', name)
    const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    return { name, version, identifier: license, text: readFileSync(join(folder, 'LICENSE'), 'utf8') }
  })
}

/** Vite lists the bundled packages with their licences; a package without a text is named with its identifier. */
function writeLicences() {
  const list = join(target, 'licenses.json')
  const parts = [...JSON.parse(readFileSync(list, 'utf8')), ...inWorkers()]
  const texts = parts.map(
    ({ name, version, identifier, text }) =>
      `${name} ${version} (${identifier ?? 'no licence named'})\n\n${(text ?? '').trim()}\n`,
  )
  const head = `The console of Millrace contains these packages, under their own licences.\n`
  writeFileSync(join(target, 'THIRD-PARTY.txt'), [head, ...texts].join(`\n${'-'.repeat(72)}\n\n`))
  rmSync(list)
}

const hash = sourceHash()
if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== hash) {
  const { build } = await import('vite')
  await build({ configFile: join(root, 'console/vite.config.ts'), logLevel: 'warn' })
  writeLicences()
  writeFileSync(stamp, hash)
}
