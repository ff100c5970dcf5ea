/** `millrace docs`, as an operator uses it. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { type Broker, connect, event, stream } from '../../src/index.ts'
import { type Ran, runMillrace } from './command-line.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-cli-docs-'))
const data = join(folder, 'data')
const out = join(folder, 'out')
const file = join(folder, 'file')
writeFileSync(file, '')
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const docs = (...args: string[]): Promise<Ran> => runMillrace(['docs', '--data', data, ...args])

async function withBroker(act: (broker: Broker) => Promise<unknown>): Promise<void> {
  const broker = await connect(`file:${data}`)
  await act(broker).finally(() => broker.close())
}
const textOf = (path: string): string => readFileSync(join(out, path), 'utf8')

const Paid = event('order.paid', z.object({ card: z.string().meta({ 'x-sensitive': true }), order: z.string() }))
const opaque = { '~standard': { version: 1, vendor: 'own', validate: (value: unknown) => ({ value }) } } as const

beforeAll(() =>
  withBroker(async (broker) => {
    const orders = stream('orders', { events: [Paid, event('order.odd', opaque)] })
    await broker.publish(orders, Paid({ card: '4111-1111', order: 'o-1' }, { source: '/shop' }))
    await broker.declare(stream('old', { events: [event('old.event')] }))
  }),
)

test('writes Markdown, AsyncAPI and schemas, with warnings, and no sensitive data', async () => {
  const ran = await docs('--out', out, '--title', 'My shop')
  expect(ran).toMatchObject({ code: 0, out: '' })
  expect(ran.err).toMatch(/! the schema of "order.odd" in channel "orders" is opaque/)
  expect(ran.err).toContain('3 event(s) in 2 channel(s)')
  expect(textOf('README.md')).toContain('# My shop')
  const page = textOf('events/order.paid.md')
  expect(page).toContain('`/shop`')
  expect(page).toContain('[masked]')
  expect(page).toContain('o-1')
  expect(JSON.parse(textOf('asyncapi.json'))).toMatchObject({ asyncapi: '3.0.0', info: { title: 'My shop' } })
  expect(JSON.parse(textOf('schemas/order.paid.json'))).toMatchObject({ required: ['card', 'order'] })
  for (const path of ['README.md', 'events/order.paid.md', 'asyncapi.json']) expect(textOf(path)).not.toContain('4111')
})

test('written again, removes the pages of what is gone, and leaves other files as they are', async () => {
  writeFileSync(join(out, 'events', 'mine.md'), 'mine')
  expect(existsSync(join(out, 'events', 'old.event.md'))).toBe(true)
  await withBroker((broker) => broker.removeChannel('old'))
  const ran = await docs('--out', out, '--json', '--no-examples', '--asyncapi', '3.1')
  const { files, warnings } = JSON.parse(ran.out) as { files: string[]; warnings: { code: string }[] }
  expect(files).toContain('events/order.paid.md')
  expect(warnings.map(({ code }) => code)).toEqual(['opaque-schema'])
  expect(existsSync(join(out, 'events', 'old.event.md'))).toBe(false)
  expect(textOf('events/mine.md')).toBe('mine')
  expect(textOf('events/order.paid.md')).not.toContain('o-1')
  expect(JSON.parse(textOf('asyncapi.json'))).toMatchObject({ asyncapi: '3.1.0' })
})

test('writes over nothing that it did not write, and changes nothing then', async () => {
  const other = join(folder, 'other')
  mkdirSync(other)
  writeFileSync(join(other, 'README.md'), 'mine')
  const ran = await docs('--out', other, '--json')
  expect(ran.code).toBe(2)
  expect(JSON.parse(ran.err)).toMatchObject({ error: { code: 'INVALID_OPTION', details: { option: 'out' } } })
  expect(readFileSync(join(other, 'README.md'), 'utf8')).toBe('mine')
  expect(existsSync(join(other, 'events'))).toBe(false)
})

test('removes nothing outside of its directory, whatever its list says', async () => {
  const away = join(folder, 'precious.md')
  writeFileSync(away, 'precious')
  writeFileSync(
    join(out, '.millrace-docs.json'),
    JSON.stringify({
      files: ['../precious.md', 'events/../../precious.md', 7, ...JSON.parse(textOf('.millrace-docs.json')).files],
    }),
  )
  expect((await docs('--out', out)).code).toBe(0)
  expect(readFileSync(away, 'utf8')).toBe('precious')
})

test.each([
  [['--asyncapi', '2.0'], 'INVALID_OPTION'],
  [['--out', join(file, 'x')], 'INVALID_OPTION'],
])('refuses %j', async (args, code) => {
  const ran = await docs(...args, '--json')
  expect([ran.code, JSON.parse(ran.err)]).toMatchObject([2, { error: { code } }])
})
