/** `millrace why`, and the reasons of actions on the command line: on a data directory in use, and over `ws:`. */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, expect, test } from 'vitest'
import { serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, stream } from '../../src/index.ts'
import { parseRuleFile } from '../../src/rules/folder/rule-file.ts'
import { rulesOf } from '../../src/rules/rules.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-why-'))
const main = join(import.meta.dirname, '../../dist/cli/main.js')
const orders = stream('orders')
let broker: Broker
let data: string
let count = 0

beforeEach(async () => {
  data = join(folder, String(count++))
  broker = await connect(`file:${data}`)
  await broker.publish(orders, { type: 'order.placed', data: { total: 7 } })
})
afterEach(() => broker.close())
afterAll(() => rmSync(folder, { recursive: true, force: true }))

interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

function millrace(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, ...args], (error, out, err) =>
      resolve({ code: error === null ? 0 : Number(error.code), out, err }),
    )
  })
}

const because = ({ out }: Ran): unknown => {
  const answer = JSON.parse(out) as { readonly reasons: readonly { readonly because: string }[] }
  return [answer].flat().map(({ reasons }) => reasons.map((each) => each.because))
}

test('`why consumer` says by whom it is paused, and `why event` why the event waits', { timeout: 60_000 }, async () => {
  const running = await broker.start(consumer('billing', orders).onAny(() => undefined))
  await expect.poll(async () => (await broker.consumer('billing').describe()).channels[0]?.lag).toBe(0)
  const paused = await millrace('consumer', 'pause', 'billing', '--data', data, '--reason', 'the bank is down')
  expect(paused.code).toBe(0)
  await broker.publish(orders, { type: 'order.placed', data: { total: 8 } })
  const user = userInfo().username
  const why = await millrace('why', 'consumer', 'billing', '--data', data)
  expect([why.code, why.out]).toEqual([0, expect.stringContaining(`by ${user}: the bank is down. Resume it [paused]`)])
  expect(because(await millrace('why', 'event', 'orders', '--offset', '0', '--data', data, '--json'))).toEqual([
    ['settled'],
  ])
  const waiting = await millrace('why', 'event', 'orders', '--offset', '1', '--data', data)
  expect(waiting.out).toContain('[paused]')
  expect(await millrace('why', 'event', 'orders', '--data', data)).toMatchObject({
    code: 2,
    err: expect.stringContaining('--offset'),
  })
  expect((await millrace('why', 'consumer', 'nobody', '--data', data)).err).toContain('UNKNOWN_CONSUMER')
  await running.stop()
})

test('`why publish` and `why rule` answer in words and as JSON', { timeout: 60_000 }, async () => {
  const large = '{"name":"large","on":"orders","when":{"data":{"total":[{"numeric":[">",100]}]}},"then":"drop"}'
  await rulesOf(broker).put(parseRuleFile(large, 'large.json')[0] as never)
  expect((await millrace('why', 'publish', 'orders', '--data', data)).out).toMatch(/publishing to orders\n.*\[\S+\]/)
  expect(JSON.parse((await millrace('why', 'publish', 'orders', '--data', data, '--json')).out)).toMatchObject({
    channel: 'orders',
    reasons: [{ text: expect.any(String) }],
  })
  expect(await millrace('why', 'publish', 'nothing', '--data', data)).toMatchObject({
    code: 1,
    err: expect.stringContaining('UNKNOWN_CHANNEL'),
  })
  await broker.publish(orders, { type: 'order.placed', data: { total: 8 } })
  const rule = await millrace('why', 'rule', 'large', '--on', 'orders', '--offset', '1', '--data', data)
  expect(rule.out).toContain('[condition]')
  expect((await millrace('why', 'rule', 'large', '--data', data)).code).toBe(2)
})

test('actions on the command line are in the audit trail, with their reasons', { timeout: 60_000 }, async () => {
  const running = await broker.start(consumer('billing', orders).onAny(() => undefined))
  await running.stop()
  const trail = async (): Promise<unknown[]> => {
    const entries: unknown[] = []
    for await (const entry of broker.read('$audit')) entries.push(entry.data)
    return entries
  }
  const rewind = ['consumer', 'rewind', 'billing', '--to', 'beginning', '--reason', 'wrong prices']
  expect((await millrace(...rewind, '--data', data)).code).toBe(0)
  const by = { kind: 'local', name: userInfo().username }
  expect(await trail()).toMatchObject([
    { action: 'rewindConsumer', by, outcome: 'done', target: { consumer: 'billing', reason: 'wrong prices' } },
  ])
  const gateway = await serveGateway(broker, { port: 0 })
  try {
    const url = gateway.url.replace('http', 'ws')
    const channel = ['--channel', 'orders', '--reason', 'over the wire']
    expect((await millrace('dead', 'drop', 'billing', ...channel, '--url', url)).code).toBe(0)
    expect((await trail()).slice(1)).toMatchObject([
      { action: 'dropDeadLetters', outcome: 'done', target: { of: 'billing', reason: 'over the wire' } },
    ])
    await millrace('consumer', 'pause', 'billing', '--reason', 'a look', '--url', url)
    const { pause } = await broker.consumer('billing').describe()
    expect(pause).toMatchObject({ reason: 'a look', by: expect.stringMatching(/./) })
  } finally {
    await gateway.close()
  }
})
