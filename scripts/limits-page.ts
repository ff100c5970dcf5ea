/** docs/limits.md, made of src/base/limits.ts: each limit's name, its value in human units and its comment. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { LIMITS } from '../src/base/limits.ts'

export const LIMITS_PAGE: string = fileURLToPath(new URL('../docs/limits.md', import.meta.url))
const SOURCE = fileURLToPath(new URL('../src/base/limits.ts', import.meta.url))

const HEAD = `# Limits and defaults

Every queue, buffer and loop of Millrace has a limit, and every limit has a name. Names say their unit: \`…Ms\` milliseconds, \`…Bytes…\` bytes,
\`…Max\` the most that may be asked for or held, \`…Default\` what holds when nothing is said.

This page is written by \`npm run docs:limits\` from [\`src/base/limits.ts\`](../src/base/limits.ts); a test compares the two.

| Limit | Value | What it bounds |
| --- | --- | --- |
`

/** The whole page, as it must be. */
export function limitsPage(source: string = readFileSync(SOURCE, 'utf8'), limits: Readonly<Record<string, number>> = LIMITS): string {
  const comments = commentsOf(source)
  const rows = Object.entries(limits).map(([name, value]) => `| \`${name}\` | ${human(name, value)} | ${comments.get(name) ?? ''} |\n`)
  return HEAD + rows.join('')
}

/** The comment above each property; one without takes part in that of the property above it. */
function commentsOf(text: string): Map<string, string> {
  const source = ts.createSourceFile('limits.ts', text, ts.ScriptTarget.ES2023, true)
  const found = new Map<string, string>()
  let above = ''
  const visit = (node: ts.Node): void => {
    if (ts.isPropertyAssignment(node) && ts.isIdentifier(node.name)) {
      above = ts
        .getJSDocCommentsAndTags(node)
        .map((each) => ts.getTextOfJSDocComment(each.comment) ?? '')
        .join(' ')
        .replaceAll(/\s+/g, ' ')
        .replaceAll('|', '\\|')
      found.set(node.name.text, above)
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

const TIMES: readonly (readonly [number, string])[] = [
  [365 * 86_400_000, 'years'],
  [86_400_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
]
const SIZES: readonly (readonly [number, string])[] = [
  [1024 ** 3, 'GiB'],
  [1024 ** 2, 'MiB'],
  [1024, 'KiB'],
]

function human(name: string, value: number): string {
  if (/(?:^ms|Ms)(?=[A-Z]|$)/.test(name)) return inUnits(value, TIMES, 'ms')
  if (/[bB]ytes(?![a-z])/.test(name)) return inUnits(value, SIZES, 'bytes')
  return value.toLocaleString('en-US')
}

function inUnits(value: number, units: readonly (readonly [number, string])[], smallest: string): string {
  const [size, unit] = units.find(([each]) => value >= each && value % each === 0) ?? [1, smallest]
  return `${(value / size).toLocaleString('en-US')} ${unit}`
}
