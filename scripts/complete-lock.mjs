/**
 * Complete package-lock.json with the optional packages of other platforms: `npm run lock:complete`.
 *
 * A registry mirror that carries one platform's binaries only makes npm write a lock without the others', and `npm ci` refuses such a lock. Adds
 * what is missing with the version that its dependent asks for and the platform that its name says; removes and changes nothing.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const SYSTEMS = ['aix', 'android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'win32']
const PROCESSORS = ['arm', 'arm64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32', 'x64']

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

/** Whether `name` is found from the package at `place`, as Node looks it up. */
function isLocked(name, place) {
  for (let folder = place; ; folder = folder.replace(/\/?node_modules\/(@[^/]+\/)?[^/]+$/, '')) {
    if (lock.packages[`${folder}${folder === '' ? '' : '/'}node_modules/${name}`] !== undefined) return true
    if (folder === '') return false
  }
}

const added = []
for (const [place, dependent] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(dependent.optionalDependencies ?? {})) {
    if (isLocked(name, place)) continue
    const entry = entryOf(name, version, dependent)
    if (entry === undefined) {
      console.error(`${name}, an optional dependency of ${place}, is not locked and names no platform`)
      process.exitCode = 1
      continue
    }
    lock.packages[`node_modules/${name}`] = entry
    added.push(name)
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
console.log(added.length === 0 ? 'nothing was missing' : `added ${added.length}: ${added.join(', ')}`)
