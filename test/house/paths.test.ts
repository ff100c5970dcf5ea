/** The files and folders that pages name in backticks are there. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { filesBelow, ROOT, type SourceFile } from './sources.ts'

const PATH = /`((?:src|test|scripts|docs|console|bench|examples)\/[^`\s]*)`/g
/** A path with a placeholder, or of a file that only a run makes. */
const NOT_THERE = /[<>*…{}$]|NAME|NNNN|^bench\/results\//

function missing(pages: readonly SourceFile[]): string[] {
  return pages.flatMap(({ path, text }) =>
    [...text.matchAll(PATH)].flatMap(([, named = '']) =>
      NOT_THERE.test(named) || existsSync(join(ROOT, named)) ? [] : [`${path}: ${named}`],
    ),
  )
}

/** The paths in the last column of the table of the four leases, which are below `src/`. */
function leaseFiles(glossary: string): string[] {
  const table = glossary.slice(glossary.indexOf('### The four leases'), glossary.indexOf('## The types'))
  return [...table.matchAll(/`([\w/-]+\.ts)` \|$/gm)].map(([, path = '']) => path)
}

describe('paths in pages', () => {
  const pages = [
    ...filesBelow('docs', '.md'),
    ...['README.md', 'CONTRIBUTING.md'].map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') })),
  ]

  it('name files and folders that exist', () => {
    expect(missing(pages)).toEqual([])
  })

  it('name the files of the four leases', () => {
    const files = leaseFiles(readFileSync(join(ROOT, 'docs/glossary.md'), 'utf8'))
    expect(files).toHaveLength(4)
    expect(files.filter((file) => !existsSync(join(ROOT, 'src', file)))).toEqual([])
  })

  it('are noticed if they are missing', () => {
    expect(
      missing([{ path: 'a.md', text: 'see `src/gone.ts`, `src/index.ts` and `src/engines/NAME/open.ts`' }]),
    ).toEqual(['a.md: src/gone.ts'])
  })
})
