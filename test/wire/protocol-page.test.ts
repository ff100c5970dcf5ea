/** docs/protocol.md lists the frames that there are, by number and name. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { FRAME } from '../../src/wire/frame.ts'

const page = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')

test('the table of frames is the code’s', () => {
  const listed = [...page.matchAll(/^\| (\d+) \| (\w+) \| (?:client|server|both) \| \S/gm)].map(([, type, name]) => [name, Number(type)])
  expect(Object.fromEntries(listed)).toEqual(FRAME)
  expect(listed).toHaveLength(Object.keys(FRAME).length)
})
