import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ERROR_CODES } from '../../src/base/errors.ts'
import { filesBelow, ROOT } from './sources.ts'

/** The differences between the codes and the page's tables, one sentence each. */
function differences(codes: Readonly<Record<string, { readonly retryable: boolean }>>, page: string): string[] {
  const rows = new Map(
    [...page.matchAll(/^\| `([A-Z_]+)` \| (yes|no) \| (.*\S.*) \| (.*\S.*) \|$/gm)].map((row) => [
      row[1] ?? '',
      row[2] === 'yes',
    ]),
  )
  return [
    ...Object.keys(codes).flatMap((code) => (rows.has(code) ? [] : [`${code} is not in docs/errors.md`])),
    ...[...rows.keys()].flatMap((code) => (code in codes ? [] : [`${code} is in docs/errors.md only`])),
    ...Object.entries(codes).flatMap(([code, { retryable }]) =>
      rows.has(code) && rows.get(code) !== retryable ? [`${code}: retryable differs`] : [],
    ),
  ]
}

describe('error codes', () => {
  it('are those of docs/errors.md', () => {
    expect(differences(ERROR_CODES, readFileSync(join(ROOT, 'docs/errors.md'), 'utf8'))).toEqual([])
  })

  it('that docs/*.md name exist', () => {
    const shaped = filesBelow('docs', '.md').flatMap((file) =>
      [...file.text.matchAll(/code(?: is)? `([A-Z]+(?:_[A-Z]+)+)`/g)].map(
        (match) => [file.path, match[1] ?? ''] as const,
      ),
    )
    expect(shaped.filter(([, code]) => !(code in ERROR_CODES))).toEqual([])
  })

  it('the comparison finds what is missing on either side or differs', () => {
    const codes = { ONE: { retryable: true }, TWO: { retryable: false } }
    expect(differences(codes, '| `TWO` | yes | when | what |\n| `THREE` | no | when | what |\n')).toEqual([
      'ONE is not in docs/errors.md',
      'THREE is in docs/errors.md only',
      'TWO: retryable differs',
    ])
  })
})
