/** `millrace rules`, as an operator uses it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { connect, stream } from '../../src/index.ts'
import { startRules } from '../../src/rules/index.ts'
import { published } from '../rules/support.ts'
import { type Ran, runMillrace } from './command-line.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-cli-rules-'))
const data = join(folder, 'data')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const rules = (...args: string[]): Promise<Ran> => runMillrace(['rules', ...args, '--data', data])

const file = join(folder, 'large.yaml')
const RULE = `name: large
on: carts
when: { data: { n: [{ numeric: ['>', 5] }] } }
then:
  - emit: { channel: alerts, create: stream, type: alert.large, data: { n: '{{ data.n }}' } }
`

beforeAll(async () => {
  writeFileSync(file, RULE)
  const broker = await connect(`file:${data}`)
  await broker.declare(stream('carts'))
  for (let n = 0; n < 10; n++) await broker.publish('carts', { type: 'added', id: `e-${n}`, source: '/s', data: { n } })
  await broker.close()
})

test('`rules test` tries a file on stored events and explains the result', async () => {
  const tried = await rules('test', file, '--on', 'carts', '--from', '7d', '--show', '1')
  expect(tried).toMatchObject({ code: 0 })
  expect(tried.out.split('\n')).toEqual([
    'carts/6 added {"n":6}',
    '  would emit {"channel":"alerts","event":{"type":"alert.large","rulehops":1,"data":{"n":6}}}',
    'carts/0 does not match: data.n must be > 5; it is 0',
    '… and 3 more of 10',
    '',
  ])
  expect(tried.err).toContain('4 of 10 event(s) would have matched; nothing was done')
  const explained = await rules('explain', file, '--on', 'carts', '--offset', '3')
  expect(explained.out).toBe('does not match: data.n must be > 5; it is 3\n  ✗ data.n: > 5; found [3]\n')
  expect(JSON.parse((await rules('explain', file, '--on', 'carts', '--offset', '9', '--json')).out)).toMatchObject({
    matches: true,
  })
  expect((await rules('list')).err).toContain('0 rule(s)')
})

test('`rules` adds, lists, shows, disables, enables and removes rules, which act in the process that runs them', async () => {
  expect(await rules('add', file, '--author', 'ann', '--reason', 'as agreed')).toMatchObject({
    code: 0,
    out: 'large revision 1, from carts/10 on\n',
  })
  expect((await rules('add', file)).out).toBe('large has not changed\n')
  expect(JSON.parse((await rules('list', '--json')).out)).toMatchObject({
    rules: [{ name: 'large', enabled: true, author: 'ann' }],
    refused: [],
  })
  expect((await rules('disable', 'large', '--author', 'bob', '--reason', 'too loud')).out).toContain('revision 2')
  expect((await rules('list')).out).toMatch(/large +carts +off +2 +bob/)
  await rules('enable', 'large')
  const shown = await rules('show', 'large')
  expect(shown.out).toContain('"numeric"')
  expect(shown.out).toMatch(/rule\.disabled +off +bob +too loud/)

  const broker = await connect(`file:${data}`)
  await startRules(broker)
  await broker.publish('carts', { type: 'added', data: { n: 50 } })
  expect((await published(broker, 'alerts', 1)).map(({ data }) => data)).toEqual([{ n: 50 }])
  await broker.close()

  await rules('remove', 'large')
  expect((await rules('show', 'large')).out).toContain('large was removed')
})

test('each wrong call prints what is wrong and exits with its code', async () => {
  writeFileSync(join(folder, 'bad.yaml'), RULE.replace('numeric', 'nummeric'))
  const bad = await rules('test', join(folder, 'bad.yaml'))
  expect(bad.code).toBe(2)
  expect(bad.err).toContain('bad.yaml: the rule is malformed at "when.data.n[0]"')
  expect(await rules('disable', 'nobody')).toMatchObject({ code: 1, err: expect.stringContaining('UNKNOWN_RULE') })
  expect(await rules('explain', file)).toMatchObject({ code: 2, err: expect.stringContaining('--offset') })
})
