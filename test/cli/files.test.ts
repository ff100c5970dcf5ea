/**
 * Hand-written files with every kind of damage: configuration, tokens, rules. Each is read, or refused with a
 * MillraceError that says what to do.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { readServeConfig } from '../../src/cli/serve-config.ts'
import { addToken, readTokens } from '../../src/gateway/access/token-file.ts'
import { isMillraceError } from '../../src/index.ts'
import { parseRuleFile } from '../../src/rules/index.ts'
import { seededRandom } from '../../src/testing/seeded-random.ts'

const TIMES = Number(process.env['MILLRACE_FUZZ'] ?? 1)
const folder = mkdtempSync(join(tmpdir(), 'millrace-files-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const path = join(folder, 'file')

const CONFIG = `webhooks:
  a: { scheme: github, secret: written, channel: x }
push: { allow: [10.0.0.1] }
rules: { folder: rules, allow: [example.com] }
hosts: events.example
`
const RULES = `name: large
on: [carts]
when: { data: { n: [{ numeric: ['>', 1] }, true, null] } }
then:
  - emit: { channel: alerts, type: alert, data: { cart: '{{ data.cart }}' } }
---
name: other
on: carts
then: drop
`
addToken(path, { name: 'ann', permissions: { publish: ['orders'], consume: [], read: [], manage: [] } })
const PIECES = [
  'null',
  '[]',
  '{}',
  '- ',
  ': ',
  '&a ',
  '*a',
  '!!binary x',
  '!!js/function x',
  '<<: *a',
  '"',
  "'",
  '|',
  '>',
  '\t',
  '\u0000',
  '\ufeff',
  '0x',
  '1e999',
  '%YAML 1.1',
  '---',
  '...',
  '{{',
  '}}',
  '{{ data.x | y }}',
  '__proto__',
]

function damaged(text: string, random: () => number): string {
  const below = (n: number): number => Math.floor(random() * n)
  let made = text
  for (let times = 1 + below(4); times > 0; times--) {
    const at = below(made.length + 1)
    const kind = random()
    const piece = PIECES[below(PIECES.length)] as string
    if (kind < 0.4) made = made.slice(0, at) + piece + made.slice(at + below(8))
    else if (kind < 0.6) made = made.slice(0, at) + made.slice(at + below(20))
    else if (kind < 0.8) made = made.replace(/: [^\n,}]+/, () => `: ${piece}`)
    else made = made.slice(at) + made.slice(0, at)
  }
  return made
}

const READERS: readonly (readonly [name: string, text: string, read: (text: string) => unknown])[] = [
  ['a configuration', CONFIG, (text) => written(text, readServeConfig)],
  [
    'a file of tokens',
    '{"format":1,"tokens":[{"id":"a","name":"b","sha256":"c","permissions":{"publish":["x"]},"limits":{"open":3},"createdAt":"2026"}]}',
    (text) => written(text, readTokens),
  ],
  ['a file of rules', RULES, (text) => parseRuleFile(text, 'a.yaml')],
  ['a file of rules in JSON', JSON.stringify(parseRuleFile(RULES, 'a.yaml')), (text) => parseRuleFile(text, 'a.json')],
]

function written<T>(text: string, read: (path: string) => T): T {
  writeFileSync(path, text)
  return read(path)
}

test.each(READERS)('%s that is damaged is read, or refused with a MillraceError', (_, text, read) => {
  const raw: string[] = []
  for (let seed = 1; seed <= 400 * TIMES && raw.length < 5; seed++) {
    const given = damaged(text, seededRandom(seed))
    const beganMs = performance.now()
    try {
      read(given)
    } catch (error) {
      if (!isMillraceError(error) || error.message === '')
        raw.push(`seed ${seed}: ${String(error)}: ${given.slice(0, 300)}`)
    }
    if (performance.now() - beganMs > 2000) raw.push(`seed ${seed} took long: ${given.slice(0, 300)}`)
  }
  expect(raw).toEqual([])
})

const BOMBS: readonly (readonly [string, string])[] = [
  [
    'aliases that double',
    `a0: &a0 [x, x]\n${Array.from({ length: 40 }, (_, at) => `a${at + 1}: &a${at + 1} [*a${at}, *a${at}]`).join('\n')}`,
  ],
  ['nesting', '['.repeat(100_000)],
  ['nested members', '{a: '.repeat(20_000)],
  ['one long line', `a: ${'x '.repeat(400_000)}`],
  ['many members', Array.from({ length: 50_000 }, (_, at) => `a${at}: 1`).join('\n')],
]
test.each(BOMBS)('%s are refused without using much processor time', (_, text) => {
  for (const [, , read] of READERS) {
    const began = process.cpuUsage()
    expect(() => read(text)).toThrow(expect.objectContaining({ name: 'MillraceError' }))
    const { user, system } = process.cpuUsage(began)
    expect((user + system) / 1000).toBeLessThan(5000)
  }
})

test('a folder in the place of a file is refused with a MillraceError', () => {
  const place = join(folder, 'folder')
  mkdirSync(place)
  for (const read of [readServeConfig, readTokens])
    expect(() => read(place)).toThrow(expect.objectContaining({ name: 'MillraceError' }))
})
