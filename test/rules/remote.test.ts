/** Rules over a server: one process serves, another runs rules, a third changes them, and processes are killed. */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import type { Permissions } from '../../src/gateway/access/permissions.ts'
import { principalOf, requirePermission } from '../../src/gateway/access/principal.ts'
import { serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { rulesOf, startRules } from '../../src/rules/index.ts'
import { eventually, offsetsOf, published } from './support.ts'

const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function served(): Promise<{ broker: Broker; url: string }> {
  const broker = await connect('memory:')
  closing.push(() => broker.close())
  await broker.declare(
    stream('carts', { key: (event) => (event.data as { key?: string } | undefined)?.key }),
    stream('alerts'),
  )
  const gateway = await serveGateway(broker, { port: 0 })
  closing.push(() => gateway.close())
  return { broker, url: `${gateway.url.replace('http', 'ws')}/ws` }
}

async function attached(url: string): Promise<Broker> {
  const broker = await connect(url)
  closing.push(() => broker.close())
  return broker
}

it('rules run at one client of a server and are changed at another', async () => {
  const { broker, url } = await served()
  const [runner, changer] = [await attached(url), await attached(url)]
  const called: number[] = []
  await startRules(runner, { functions: { note: (_event, { offset }) => void called.push(offset) } })
  const rules = rulesOf(changer)
  const { from } = await rules.put({
    name: 'r',
    on: 'carts',
    then: [{ emit: { channel: 'alerts', type: 'a', data: '{{ $offset }}' } }, { call: 'note' }],
  })
  expect(from).toEqual({ carts: 0 })
  for (let n = 0; n < 20; n++) await broker.publish('carts', { type: 'x', data: { key: 'k' } })
  expect((await published(changer, 'alerts', 20)).map(({ data }) => data)).toEqual(
    Array.from({ length: 20 }, (_, n) => n),
  )
  await eventually(() => expect(called).toEqual(Array.from({ length: 20 }, (_, n) => n)))
  const { from: after } = await rules.disable('r')
  expect(after).toEqual({ carts: 20 })
  await broker.publish('carts', { type: 'x', data: { key: 'k' } })
  await eventually(async () => expect(await offsetsOf(broker, 'rules.carts', 'carts')).toBe(21))
  expect(await published(changer, 'alerts', 20)).toHaveLength(20)
})

it('every event takes effect once, by the rule in force at its offset, also if processes that run rules are killed', {
  timeout: 60_000,
}, async () => {
  const { broker, url } = await served()
  const folder = mkdtempSync(join(tmpdir(), 'millrace-rules-process-'))
  closing.push(() => rmSync(folder, { recursive: true, force: true }))
  const script = join(folder, 'runner.mjs')
  const dist = new URL('../../dist/', import.meta.url).href
  writeFileSync(
    script,
    `import { connect } from '${dist}index.js'\nimport { startRules } from '${dist}rules/index.js'\nconst broker = await connect(process.argv[2])\nawait startRules(broker)\nprocess.send('ready')\n`,
  )
  const start = async (): Promise<ChildProcess> => {
    const child = fork(script, [url], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    closing.push(() => child.kill('SIGKILL'))
    await new Promise((resolve) => child.once('message', resolve))
    return child
  }
  const [first] = await Promise.all([start(), start()])
  const rules = rulesOf(broker)
  const changes: { from: number; type: string }[] = []
  const put = async (type: string): Promise<void> => {
    const { from } = await rules.put({
      name: 'r',
      on: 'carts',
      then: { emit: { channel: 'alerts', type, data: '{{ $offset }}' } },
    })
    changes.push({ from: from['carts'] as number, type })
  }
  const publish = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n += 20)
      await Promise.all(
        Array.from({ length: 20 }, (_, at) => broker.publish('carts', { type: 'x', data: { key: String(at % 5) } })),
      )
  }
  await put('one')
  await publish(200)
  const flow = publish(400)
  await put('two')
  first.kill('SIGKILL')
  await put('three')
  await flow
  await start()
  await put('four')
  await publish(100)
  const alerts = await eventuallyAll(broker, 700)
  expect(alerts.map(({ data }) => data as number).toSorted((a, b) => a - b)).toEqual(
    Array.from({ length: 700 }, (_, n) => n),
  )
  for (const { type, data } of alerts)
    expect([data, type]).toEqual([data, changes.findLast(({ from }) => from <= (data as number))?.type])
})

/** The events of the killed process are delivered again when its lease has ended. */
async function eventuallyAll(broker: Broker, count: number): Promise<Awaited<ReturnType<typeof published>>> {
  await eventually(
    async () => expect((await broker.describe()).channels.find(({ name }) => name === 'alerts')?.next).toBe(count),
    50_000,
  )
  return published(broker, 'alerts', count)
}

it('the channels of rules are open only to callers that may change rules on all channels', () => {
  const of = (permissions: Permissions) => principalOf({ name: 'x', kind: 'token', permissions })
  const every = ['>']
  for (const channel of ['$rules', '$rule.r.http']) {
    for (const action of ['publish', 'consume', 'read', 'manage'] as const) {
      expect(of({ rules: every }).permits(action, channel)).toBe(true)
      expect(
        of({ rules: ['carts'], publish: every, consume: every, read: every, manage: every }).permits(action, channel),
      ).toBe(false)
    }
  }
  expect(of({ rules: every }).permits('publish', '$audit')).toBe(false)
  expect(() => requirePermission(of({ publish: every }), 'publish', '$rules')).toThrow('change rules on all channels')
})
