import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { filesBelow, ROOT, type SourceFile } from './sources.ts'

const FILE_LINES_MAX = 500
/** A longer file is named in the output of the run. */
const FILE_LINES_CONSIDERED = 400
const FUNCTION_LINES_MAX = 70
const COLUMNS_MAX = 120

const FOLDERS = ['src', 'test', 'bench', 'examples', 'scripts', 'console/src'].filter((folder) =>
  existsSync(join(ROOT, folder)),
)
/** Nobody reads generated files; their source is checked, and a test compares the two. */
const files = FOLDERS.flatMap((folder) => [...filesBelow(folder, '.ts'), ...filesBelow(folder, '.tsx')]).filter(
  (file) => !file.path.endsWith('.generated.ts'),
)

function tooLong(sources: readonly SourceFile[], linesMax: number): string[] {
  return sources
    .map((file) => ({ path: file.path, lines: file.text.trimEnd().split('\n').length }))
    .flatMap(({ path, lines }) => (lines > linesMax ? [`${path}: ${lines} lines`] : []))
}

/**
 * Functions and methods over the limit. For a function that only contains others (a test's `describe`), those are
 * checked.
 */
function longFunctions(sources: readonly SourceFile[]): string[] {
  return sources.flatMap((file) => {
    const source = ts.createSourceFile(file.path, file.text, ts.ScriptTarget.ES2023, true)
    const line = (position: number): number => source.getLineAndCharacterOfPosition(position).line
    const found: string[] = []
    const visit = (node: ts.Node): void => {
      if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined) {
        const lines = line(node.end) - line(node.getStart()) + 1
        if (lines > FUNCTION_LINES_MAX) found.push(`${file.path}:${line(node.getStart()) + 1}: ${lines} lines`)
      }
      ts.forEachChild(node, visit)
    }
    visit(source)
    return found
  })
}

/** Lines of comments that are too long. The formatter wraps code and leaves comments alone. A URL cannot be wrapped. */
function longComments(sources: readonly SourceFile[]): string[] {
  return sources.flatMap(({ path, text }) =>
    text
      .split('\n')
      .flatMap((line, at) =>
        [...line].length > COLUMNS_MAX && /^\s*(?:\/\/|\/\*|\*)/.test(line) && !line.includes('://')
          ? [`${path}:${at + 1}`]
          : [],
      ),
  )
}

/** Lines of prose that are too long: not in a table, a block of code, a heading or a remark of HTML. */
function longProse(pages: readonly SourceFile[]): string[] {
  return pages.flatMap(({ path, text }) => {
    let code = false
    return text.split('\n').flatMap((line, at) => {
      if (line.trimStart().startsWith('```')) code = !code
      const bound = !code && !/^\s*(?:\||#|<)/.test(line) && !line.includes('://')
      return bound && [...line].length > COLUMNS_MAX ? [`${path}:${at + 1}`] : []
    })
  })
}

const GENERATED_PAGES = new Set(['docs/engines/matrix.md'])
const pages = [
  ...filesBelow('docs', '.md').filter(({ path }) => !GENERATED_PAGES.has(path)),
  ...['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md'].map((path) => ({
    path,
    text: readFileSync(join(ROOT, path), 'utf8'),
  })),
]

describe('size', () => {
  it(`no file is over ${FILE_LINES_MAX} lines`, () => {
    const long = tooLong(files, FILE_LINES_CONSIDERED)
    if (long.length > 0) console.warn(`over ${FILE_LINES_CONSIDERED} lines, think again:\n${long.join('\n')}`)
    expect(tooLong(files, FILE_LINES_MAX)).toEqual([])
  })

  it(`no function of the library or the console is over ${FUNCTION_LINES_MAX} lines`, () => {
    expect(longFunctions(files.filter(({ path }) => /^(?:console\/)?src\//.test(path)))).toEqual([])
  })

  it(`no line of a comment or of prose is over ${COLUMNS_MAX} columns`, () => {
    expect(longComments(files)).toEqual([])
    expect(longProse(pages)).toEqual([])
  })

  it('the check finds lines that are too long', () => {
    const long = 'x'.repeat(COLUMNS_MAX)
    expect(longComments([{ path: 'a.ts', text: `const a = 1\n  // ${long}\n  // ${long}://x\n${long}` }])).toEqual([
      'a.ts:2',
    ])
    expect(longProse([{ path: 'a.md', text: `- ${long}\n| ${long}\n\`\`\`\n${long}x\n\`\`\`\n` }])).toEqual(['a.md:1'])
  })

  it('the check finds a file and a function that are too long', () => {
    expect(tooLong([{ path: 'a.ts', text: 'x\n'.repeat(501) }], 500)).toEqual(['a.ts: 501 lines'])
    expect(tooLong([{ path: 'a.ts', text: 'x\n'.repeat(500) }], 500)).toEqual([])
    expect(longFunctions([{ path: 'a.ts', text: `\nconst a = () => {${'\n'.repeat(70)}}` }])).toEqual([
      'a.ts:2: 71 lines',
    ])
  })
})
