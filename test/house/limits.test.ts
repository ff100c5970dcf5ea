import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { LIMITS_PAGE, limitsPage } from '../../scripts/limits-page.ts'

describe('docs/limits.md', () => {
  it('is what `npm run docs:limits` writes', () => {
    expect(readFileSync(LIMITS_PAGE, 'utf8')).toBe(limitsPage())
  })

  it('has a comment for every limit', () => {
    expect(
      limitsPage()
        .split('\n')
        .filter((line) => line.startsWith('| `') && line.endsWith('|  |')),
    ).toEqual([])
  })

  it('changes when a limit changes', () => {
    const source =
      'export const LIMITS = {\n  /** How long it waits. */\n  waitMs: 1500,\n  /** Most at once. */\n  bytesMax: 65536,\n}'
    expect(limitsPage(source, { waitMs: 1500, bytesMax: 65_536 })).toContain(
      '| `waitMs` | 1,500 ms | How long it waits. |\n| `bytesMax` | 64 KiB | Most at once. |\n',
    )
    expect(limitsPage(source, { waitMs: 2000, bytesMax: 65_536 })).toContain('| `waitMs` | 2 s |')
  })
})
