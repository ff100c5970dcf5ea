import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from './sources.ts'

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>
  readonly devDependencies?: Readonly<Record<string, string>>
  readonly peerDependencies?: Readonly<Record<string, string>>
  readonly allowScripts?: Readonly<Record<string, boolean>>
}

interface Lock {
  readonly packages: Readonly<
    Record<
      string,
      { readonly hasInstallScript?: boolean; readonly optionalDependencies?: Readonly<Record<string, string>> }
    >
  >
}

/** What is wrong with the manifest and its lock file, one sentence each. */
function faults(manifest: Manifest, lock: Lock): string[] {
  const ranges = Object.entries({ ...manifest.dependencies, ...manifest.devDependencies }).filter(
    ([, version]) => !/^(npm:@?[\w/.-]+@)?\d+\.\d+\.\d+(-[\w.]+)?$/.test(version),
  )
  const scripts = Object.entries(lock.packages).filter(([, each]) => each.hasInstallScript === true)
  const undecided = scripts
    .map(([path]) => path.replace(/^.*node_modules\//, ''))
    .filter((name) => manifest.allowScripts?.[name] === undefined)
  const optional = Object.values(lock.packages).flatMap((each) => Object.keys(each.optionalDependencies ?? {}))
  const locked = new Set(Object.keys(lock.packages).map((path) => path.replace(/^.*node_modules\//, '')))
  return [
    ...ranges.map(([name, version]) => `${name} is not pinned exactly: ${version}`),
    ...Object.keys(manifest.peerDependencies ?? {}).map((name) => `${name} is a peer dependency`),
    ...undecided.map((name) => `${name} has an install script that allowScripts neither approves nor denies`),
    ...optional.filter((name) => !locked.has(name)).map((name) => `${name} is not in the lock: npm run lock:complete`),
  ]
}

const read = (name: string): unknown => JSON.parse(readFileSync(join(ROOT, name), 'utf8'))

describe('package.json', () => {
  it('pins every dependency, asks for no peers, decides on every install script, and has a complete lock', () => {
    expect(faults(read('package.json') as Manifest, read('package-lock.json') as Lock)).toEqual([])
  })

  it('the check finds what is not so', () => {
    const manifest = { dependencies: { a: '^1.0.0' }, peerDependencies: { b: '1.0.0' }, allowScripts: {} }
    const lock = {
      packages: { 'node_modules/a': { hasInstallScript: true, optionalDependencies: { 'a-darwin': '1.0.0' } } },
    }
    expect(faults(manifest, lock)).toHaveLength(4)
  })
})
