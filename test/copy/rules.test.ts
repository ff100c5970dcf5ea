/**
 * A copy includes rules: their history, the version that applies to each event, and the events in the queues of their
 * actions, at other offsets.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import { copyBroker } from '../../src/copy/copy.ts'
import { fileCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { ExternalLogEngine } from '../../src/external-log/external-log-engine.ts'
import type { ChannelEntry } from '../../src/external-log/log-backend.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { rulesOf, startRules } from '../../src/rules/index.ts'
import { MemoryBackend, MemoryServer } from '../external-log/memory-backend.ts'
import { eventually, published } from '../rules/support.ts'

/** A backend whose channels begin at different offsets. */
class ShiftedBackend extends MemoryBackend {
  override readonly capabilities = fileCapabilities
  readonly #mine: MemoryServer

  constructor(server: MemoryServer) {
    super(server)
    this.#mine = server
  }

  override async createChannel(entry: ChannelEntry): Promise<void> {
    await super.createChannel(entry)
    const channel = this.#mine.channels.get(entry.spec.name)
    if (channel !== undefined && channel.next === 0) channel.next = 17 + entry.spec.name.length
  }
}

async function shifted(): Promise<Broker> {
  const engine = await ExternalLogEngine.open({ backend: new ShiftedBackend(new MemoryServer()), partitions: 1 })
  return new ConnectedBroker(engine, { source: '/test', random: Math.random })
}

test('a copy includes rules, their start offsets, and the events that wait for their actions', {
  timeout: 60_000,
}, async () => {
  let open = false
  const got: string[] = []
  const server = createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString()
    })
    request.on('end', () => {
      if (open) got.push(body)
      response.writeHead(open ? 200 : 503).end()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const http = { allow: ['127.0.0.1/32'] }

  const source = await connect('memory:')
  await source.declare(stream('carts'), stream('alerts'))
  const emitting = (type: string) => ({
    name: 'large',
    on: 'carts',
    then: [
      { emit: { channel: 'alerts', type, data: '{{ data }}' } },
      { http: { url, retry: { attempts: 50, min: '100ms', max: '200ms' } } },
    ],
  })
  const running = await startRules(source, { http })
  await running.put(emitting('first'), { author: 'ann' } as never)
  await source.publish('carts', { type: 'x', data: 1 })
  await published(source, 'alerts', 1)
  await eventually(async () =>
    expect(
      (await source.describe()).consumers.some(({ name, retrying }) => name === 'rule.large.http' && retrying === 1),
    ).toBe(true),
  )
  await running.stop()
  // No process runs rules now. The first version applies to the first two events, the second version to the third.
  const changer = rulesOf(source)
  await source.publish('carts', { type: 'x', data: 2 })
  await source.publish('carts', { type: 'x', data: 3 })
  await changer.put(emitting('second'), { author: 'bea' } as never)
  await source.publish('carts', { type: 'x', data: 4 })

  const target = await shifted()
  const report = await copyBroker(source, target, { name: 'source' })
  expect(report.channels.map(({ channel }) => channel)).toEqual(['alerts', 'carts', '$rules', '$rule.large.http'])
  expect((await rulesOf(target).history('large')).map(({ type, author }) => [type, author])).toEqual(
    (await changer.history('large')).map(({ type, author }) => [type, author]),
  )

  open = true
  const there = await startRules(target, { http })
  const alerts = await published(target, 'alerts', 4)
  const byData = (a: { readonly data: unknown }, b: { readonly data: unknown }): number =>
    Number(a.data) - Number(b.data)
  expect(alerts.sort(byData).map(({ type, data }) => [type, data])).toEqual([
    ['first', 1],
    ['first', 2],
    ['first', 3],
    ['second', 4],
  ])
  await eventually(() => expect(got).toHaveLength(4))
  await there.stop()
  await source.close()
  await target.close()
  server.close()
})
