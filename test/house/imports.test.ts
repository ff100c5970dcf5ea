import { existsSync, readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { importFaults, importsOf, openedCircles, ROOMS, TYPE_CIRCLES } from './imports.ts'
import { filesBelow, ROOT } from './sources.ts'

const file = (path: string, text: string): { path: string; text: string } => ({ path, text })

describe('imports', () => {
  const files = filesBelow('src', '.ts')

  it('keep the order of the rooms, the engines apart, foreign libraries at home, and no circles', () => {
    expect(importFaults(files)).toEqual([])
  })

  it('the list of circles of types names paths of src, and the run names those that have no circle any more', () => {
    const opened = openedCircles(files)
    if (opened.length > 0) console.warn(`no circle of types any more, delete from TYPE_CIRCLES: ${opened.join(', ')}`)
    for (const path of TYPE_CIRCLES) expect(files.some((each) => each.path.startsWith(path))).toBe(true)
  })

  it('every folder of src is a room', () => {
    const folders = readdirSync(join(ROOT, 'src'), { withFileTypes: true }).filter((entry) => entry.isDirectory())
    expect(folders.map((entry) => entry.name).filter((name) => !ROOMS.some((room) => room === name))).toEqual([])
  })

  it('the examples use the public package only', () => {
    if (!existsSync(join(ROOT, 'examples'))) return
    const inside = filesBelow('examples', '.ts').flatMap(importsOf)
    const isOfLibrary = ({ from, specifier }: (typeof inside)[number]): boolean =>
      specifier.startsWith('.') && join(dirname(from), specifier).startsWith('src/')
    expect(inside.filter(isOfLibrary).map((each) => `${each.from}:${each.line}`)).toEqual([])
    expect(isOfLibrary({ from: 'examples/shop/main.ts', specifier: '../../src/index.ts', line: 1 } as never)).toBe(true)
  })
})

describe('the check of imports finds', () => {
  it.each([
    [
      'a room that imports a later one',
      [file('src/pattern/a.ts', `import { event } from '../event/event.ts'`)],
      'pattern stands before event',
    ],
    [
      'a type of a later room',
      [file('src/base/a.ts', `import type { Event } from '../event/event.ts'`)],
      'base stands before event',
    ],
    ['a re-export', [file('src/base/a.ts', `export * from '../event/event.ts'`)], 'base stands before event'],
    [
      'a deferred import',
      [file('src/broker/a.ts', `await import('../engines/nats/open.ts')`)],
      'broker stands before engines',
    ],
    [
      'a type in passing',
      [file('src/base/a.ts', `export type A = import('../event/event.ts').Event`)],
      'base stands before event',
    ],
    [
      'an engine in an engine',
      [file('src/engines/nats/a.ts', `import '../embedded/b.ts'`)],
      'may not import the engine embedded',
    ],
    ['an import of cli', [file('src/index.ts', `import './cli/main.ts'`)], 'nothing imports cli'],
    [
      'an import of the public entry',
      [file('src/gateway/a.ts', `import { connect } from '../index.ts'`)],
      'is not in a room',
    ],
    ['a foreign library astray', [file('src/event/a.ts', `import { open } from 'lmdb'`)], 'lmdb belongs to'],
    ['an unknown library', [file('src/event/a.ts', `import x from 'left-pad'`)], 'left-pad is not in LIBRARIES'],
    [
      'a circle of values',
      [file('src/base/a.ts', `import { b } from './b.ts'`), file('src/base/b.ts', `import { a } from './a.ts'`)],
      'circle: src/base/a.ts → src/base/b.ts → src/base/a.ts',
    ],
    [
      'a circle of types',
      [
        file('src/base/a.ts', `import type { B } from './b.ts'`),
        file('src/base/b.ts', `import { type A } from './a.ts'`),
      ],
      'circle: src/base/a.ts → src/base/b.ts → src/base/a.ts',
    ],
  ])('%s', (_what, files, message) => {
    expect(importFaults(files).join('\n')).toContain(message)
  })

  it('nothing in comments and strings', () => {
    const quiet = [
      file('src/base/a.ts', `// import '../event/event.ts'\nexport const text = "import '../cli/main.ts'"`),
    ]
    expect(importFaults(quiet)).toEqual([])
  })
})
