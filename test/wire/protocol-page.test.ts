/** docs/protocol.md lists exactly the existing frames, methods, capabilities and members of a declaration. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { z } from 'zod'
import { CLAUSES } from '../../src/broker/capabilities.ts'
import { event, stream } from '../../src/index.ts'
import { FRAME } from '../../src/wire/frame.ts'
import { METHODS } from '../../src/wire/server/calls.ts'

const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')

/** The text below a heading, up to the next one. */
function section(heading: string): string {
  const [, text = ''] = page.split(`### ${heading}\n`)
  return text.split('\n### ')[0] as string
}

/** The first cells of a table whose names are code. */
function names(heading: string): string[] {
  return [...section(heading).matchAll(/^\| `([\w.]+)` \|/gm)].map(([, name]) => name as string)
}

test('the table of frames agrees with the code', () => {
  const listed = [...page.matchAll(/^\| (\d+) \| (\w+) \| (?:client|server|both) \| \S/gm)].map(([, type, name]) => [
    name,
    Number(type),
  ])
  expect(Object.fromEntries(listed)).toEqual(FRAME)
  expect(listed).toHaveLength(Object.keys(FRAME).length)
})

test('the table of methods agrees with the code', () => {
  expect(names('Methods').sort()).toEqual(Object.keys(METHODS).sort())
})

test('the table of capabilities agrees with the contract’s clauses', () => {
  const listed = [...section('Capabilities').matchAll(/^\| (\d+) \| ([\w -]+) \|/gm)].map(([, clause, name]) => [
    clause,
    name,
  ])
  expect(Object.fromEntries(listed)).toEqual(CLAUSES)
})

test('the table of a declaration’s members agrees with the code', () => {
  const placed = event('order.placed', z.string()).nextVersion(2, z.number(), Number)
  const { spec } = stream('orders', { events: [placed], key: 'subject', compatibility: 'full' })
  expect(names('Declarations')).toEqual(Object.keys(spec))
})
