/**
 * Complete package-lock.json with the optional packages of other platforms: `npm run lock:complete`.
 *
 * A registry mirror that carries the binaries of one platform makes npm write a lock without the others, and `npm ci`
 * refuses such a lock. The script adds the missing packages, with the version that their dependent asks for and the
 * platform that their name says.
 *
 * It also writes the versions of Node on which the client libraries are tested here. Parts of them declare Node 22 or
 * later, npm warns about that on Node 20, and `.ci/run` runs the suites of their engines on Node 20.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const SYSTEMS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32']
const PROCESSORS = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64']

/**
 * Parts of the client libraries of the engines that declare a newer Node than the one on which `.ci/run` tests them.
 */
const TESTED_ON_NODE_20 = ['@nats-io/nuid', '@platformatic/dynamic-buffer', '@platformatic/wasm-utils']

const path = fileURLToPath(new URL('../package-lock.json', import.meta.url))
const lock = JSON.parse(readFileSync(path, 'utf8'))

/** The entry of a package that is for one platform, or undefined if its name says no platform. */
function entryOf(name, version, dependent) {
  const words = name.split(/[/-]/).map((word) => ({ x86: 'ia32', arm: 'arm', riscv64gc: 'riscv64' })[word] ?? word)
  const cpu = PROCESSORS.filter((processor) => words.includes(processor))
  const os = SYSTEMS.filter((system) => words.includes(system))
  const libc = words.some((word) => word.startsWith('musl'))
    ? ['musl']
    : words.some((word) => word.startsWith('gnu'))
      ? ['glibc']
      : undefined
  if (cpu.length === 0 && os.length === 0) return undefined
  const entry = {
    version: version.replace(/^[\^~]/, ''),
    ...(cpu.length > 0 && { cpu }),
    ...(dependent.dev && { dev: true }),
  }
  return {
    ...entry,
    ...(libc && { libc }),
    optional: true,
    ...(os.length > 0 && { os }),
    ...(dependent.engines && { engines: dependent.engines }),
  }
}

/** Whether `name` is found from the package at `from`, as Node looks it up. */
function isLocked(name, from) {
  for (let folder = from; ; folder = folder.replace(/\/?node_modules\/(@[^/]+\/)?[^/]+$/, '')) {
    if (lock.packages[`${folder}${folder === '' ? '' : '/'}node_modules/${name}`] !== undefined) return true
    if (folder === '') return false
  }
}

const added = []
for (const [from, dependent] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(dependent.optionalDependencies ?? {})) {
    if (isLocked(name, from)) continue
    const entry = entryOf(name, version, dependent)
    if (entry === undefined) {
      console.error(`${name}, an optional dependency of ${from}, is not locked and names no platform`)
      process.exitCode = 1
      continue
    }
    lock.packages[`node_modules/${name}`] = entry
    added.push(name)
  }
}
for (const name of TESTED_ON_NODE_20) lock.packages[`node_modules/${name}`].engines = { node: '>=20.19' }
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
console.log(added.length === 0 ? 'nothing was missing' : `added ${added.length}: ${added.join(', ')}`)
