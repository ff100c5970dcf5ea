/** The code of docs/guide/frameworks.md is that of the examples, which `npm run test:frameworks` runs. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from './sources.ts'

const page = readFileSync(join(ROOT, 'docs/guide/frameworks.md'), 'utf8')
const blocks = [...page.matchAll(/^```typescript file=(\S+)\n([\s\S]*?)^```/gm)]

describe('the guide of frameworks', () => {
  it('has code of every example', () => {
    expect(blocks.length).toBeGreaterThan(8)
    expect(page.match(/^```\w/gm)).toHaveLength(blocks.length)
  })

  it.each(blocks.map(([, file, code]) => [file, code] as const))('shows what is in %s', (file, code) => {
    expect(readFileSync(join(ROOT, 'examples/frameworks/src', file ?? ''), 'utf8')).toContain(code)
  })
})
