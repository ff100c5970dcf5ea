import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

/** Rows of the tables of types: `Type`, then its file below `src/`. */
function typesNamed(page: string): { type: string; file: string }[] {
  return [...page.matchAll(/^\| `(\w+)` \| `([\w/.-]+\.ts)` \|/gm)].map((row) => ({
    type: row[1] as string,
    file: row[2] as string,
  }))
}

function isDeclared(source: string, type: string): boolean {
  return new RegExp(`^export (?:abstract )?(?:interface|class|type) ${type}\\b`, 'm').test(source)
}

describe('docs/glossary.md', () => {
  const types = typesNamed(readFileSync('docs/glossary.md', 'utf8'))

  it('names the types of events', () => {
    expect(types.length).toBeGreaterThan(20)
  })

  it.each(types)('$type is declared in src/$file', ({ type, file }) => {
    expect(isDeclared(readFileSync(`src/${file}`, 'utf8'), type)).toBe(true)
  })

  it('notices a type that is not declared', () => {
    expect(isDeclared('export interface EventText {}', 'Event')).toBe(false)
  })
})
