/** The docstrings of the public exports: what `@throws` and `@default` say, and how. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { describe, expect, it } from 'vitest'
import { ERROR_CODES } from '../../src/base/errors.ts'
import { filesBelow, ROOT, type SourceFile } from './sources.ts'

const ENTRIES = ['', 'pattern/', 'rules/', 'telemetry/', 'browser/', 'gateway/', 'testing/'].map(
  (folder) => `src/${folder}index.ts`,
)
const CODE = new RegExp(`\\b(?:${Object.keys(ERROR_CODES).join('|')})\\b`, 'g')
/** A value (a literal, or a noun that stands for one), and not a sentence. */
const VALUE = /^(?:['`\d]|(?:true|false|null|undefined|none|now|unchanged|a|an|the|every|all|any)\b|EdDSA,)/

interface Tag {
  readonly name: string
  readonly text: string
  readonly at: string
}

/** The files from which an entry exports something. */
function publicFiles(files: readonly SourceFile[]): SourceFile[] {
  const names = new Set(ENTRIES)
  for (const entry of ENTRIES) {
    const text = files.find(({ path }) => path === entry)?.text ?? ''
    for (const [, from = ''] of text.matchAll(/from '(\.[^']+)'/g)) names.add(join(dirname(entry), from))
  }
  return files.filter(({ path }) => names.has(path))
}

/** The tags of exported declarations and of their members. */
function tagsOf({ path, text }: SourceFile): Tag[] {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true)
  const found: Tag[] = []
  const visit = (node: ts.Node): void => {
    for (const tag of ts.getJSDocTags(node)) {
      if (tag.parent.parent !== node) continue
      const said = (ts.getTextOfJSDocComment(tag.comment) ?? '').replaceAll(/\s+/g, ' ').trim()
      const { line } = source.getLineAndCharacterOfPosition(tag.pos)
      found.push({ name: tag.tagName.text, text: said, at: `${path}:${line + 1}` })
    }
    ts.forEachChild(node, visit)
  }
  for (const statement of source.statements)
    if (ts.canHaveModifiers(statement) && ts.getModifiers(statement)?.[0]?.kind === ts.SyntaxKind.ExportKeyword)
      visit(statement)
  return found
}

/** Each code is followed by "when" and a condition, or the tag says that it is as for another method. */
function throwsBadly({ text }: Tag): boolean {
  const codes = [...text.matchAll(CODE)]
  if (codes.length === 0) return !/^(?:as `\w+`|an? |what )/.test(text)
  return codes.some(({ 0: code, index }) => !/^(?: or [A-Z_]+)? when /.test(text.slice(index + code.length)))
}

const files = publicFiles(filesBelow('src', '.ts'))
const tags = files.flatMap(tagsOf)
const wrong = (name: string, isWrong: (tag: Tag) => boolean): string[] =>
  tags.filter((tag) => tag.name === name && isWrong(tag)).map(({ at, text }) => `${at}: ${text}`)

describe('docstrings of public exports', () => {
  it('are found in every entry', () => {
    expect(ENTRIES.filter((entry) => !existsSync(join(ROOT, entry)))).toEqual([])
    expect(tags.filter(({ name }) => name === 'throws').length).toBeGreaterThan(40)
  })

  it('say of each thrown code when it is thrown', () => {
    expect(wrong('throws', throwsBadly)).toEqual([])
  })

  it('give a value as the default', () => {
    expect(wrong('default', ({ text }) => !VALUE.test(text))).toEqual([])
  })

  it('are refused without "when", and with a sentence as the default', () => {
    const tag = (text: string): Tag => ({ name: 'throws', text, at: '' })
    expect(throwsBadly(tag('CLOSED · INVALID_OPTION when it is wrong'))).toBe(true)
    expect(throwsBadly(tag('CLOSED when it is closed · INVALID_NAME or INVALID_OPTION when it is wrong'))).toBe(false)
    expect(throwsBadly(tag('as `read` · INVALID_NAME when it is wrong'))).toBe(false)
    expect(VALUE.test('it settles nothing')).toBe(false)
    expect(VALUE.test("'30s'")).toBe(true)
  })
})
