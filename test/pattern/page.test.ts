import { readFileSync } from 'node:fs'
import { isMillraceError, type MillraceError } from 'millrace'
import { compilePattern, RuleIndex } from 'millrace/pattern'
import { describe, expect, it } from 'vitest'

const page = readFileSync(new URL('../../docs/patterns.md', import.meta.url), 'utf8')
const text = /```json\n([^`]+)```/.exec(page)?.[1] ?? ''

/** | `pattern` | yes or no | remark | */
const rows = Array.from(page.matchAll(/^\| `(.+?)` \| (yes|no) \|.*\|$/gm), ([, pattern = '', answer]) => ({
  pattern,
  matches: answer === 'yes',
}))
/** | `pattern` | `path` | reason | */
const refused = Array.from(
  page.matchAll(/^\| `(.+?)` \| `([^`]+)` \| [^`|].*\|$/gm),
  ([, pattern = '', path = '']) => ({ pattern, path }),
)

describe('docs/patterns.md', () => {
  it('has rows', () => {
    expect(rows.length).toBeGreaterThan(50)
    expect(refused.length).toBeGreaterThan(13)
  })

  it.each(rows)('$pattern: $matches', ({ pattern, matches }) => {
    const index = new RuleIndex()
    index.add('it', pattern)
    for (const form of [text, Buffer.from(text)]) {
      expect(compilePattern(pattern).matches(form)).toBe(matches)
      expect(index.match(form)).toEqual(matches ? ['it'] : [])
    }
    // A parsed event has lost the digits that a double does not hold.
    if (!pattern.includes('"order"')) expect(compilePattern(pattern).matches(JSON.parse(text) as object)).toBe(matches)
  })

  it.each(refused)('$pattern is refused at $path', ({ pattern, path }) => {
    let thrown: unknown
    try {
      compilePattern(pattern)
    } catch (error) {
      thrown = error
    }
    expect(isMillraceError(thrown, 'INVALID_PATTERN') && (thrown as MillraceError).details['path']).toBe(path)
  })

  it('shows every operator, matching and not', () => {
    const shown = (answer: boolean): string =>
      rows
        .filter(({ matches }) => matches === answer)
        .map(({ pattern }) => pattern)
        .join('\n')
    const operators = [
      'exactly',
      'prefix',
      'suffix',
      'equals-ignore-case',
      'wildcard',
      'anything-but',
      'numeric',
      'cidr',
      'exists',
      '$or',
    ]
    expect(operators.filter((operator) => !shown(true).includes(`"${operator}":`))).toEqual([])
    for (const inner of ['prefix', 'suffix', 'equals-ignore-case', 'wildcard'])
      expect(page).toContain(`"anything-but": { "${inner}"`)
    expect(
      ['prefix', 'suffix', 'wildcard', 'anything-but', 'numeric', 'exists', '$or'].filter(
        (operator) => !shown(false).includes(`"${operator}":`),
      ),
    ).toEqual([])
  })
})
