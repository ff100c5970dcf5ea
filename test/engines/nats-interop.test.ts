/** Plain NATS clients read the events of Millrace, and their own messages arrive in handlers. */
import { randomUUID } from 'node:crypto'
import { connect as connectNats, headers, type NatsConnection } from '@nats-io/transport-node'
import { CloudEvent, HTTP } from 'cloudevents'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { natsKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { type Broker, connect, queue, type StoredEvent, stream } from '../../src/index.ts'
import { collecting, ItemAdded } from './cases.ts'
import { kindOf } from './servers.ts'

const kind = kindOf('nats (newest)', () => natsKind({ version: 'newest' }))

describe.skipIf(kind === undefined)('NATS', () => {
  let server: Server
  let plain: NatsConnection
  let broker: Broker
  let prefix: string
  const brokers: Broker[] = []

  async function open(query = ''): Promise<Broker> {
    prefix = `i${randomUUID().slice(0, 8)}`
    broker = await connect(`${server.url}?durable=declared&partitions=4&prefix=${prefix}${query}`)
    brokers.push(broker)
    return broker
  }

  beforeAll(async () => {
    if (kind === undefined) return
    server = await Server.start(kind)
    plain = await connectNats({ servers: `127.0.0.1:${server.port}` })
  })

  afterAll(async () => {
    for (const each of brokers) await each.close()
    await plain?.close()
    await server?.stop()
  })

  const message = async (stream: string, seq: number) =>
    (await plain.request(`$JS.API.DIRECT.GET.${stream}`, JSON.stringify({ seq }))) as Awaited<
      ReturnType<NatsConnection['request']>
    >

  it('events are written as CloudEvents that a plain client reads, structured', async () => {
    await open()
    const carts = stream('shop.carts', { events: [ItemAdded], key: ({ data }) => data.sku })
    const seen: string[] = []
    plain.subscribe(`${prefix}.shop.carts.~.*`, { callback: (_error, each) => void seen.push(each.string()) })
    await plain.flush()
    const receipt = await broker.publish(carts, ItemAdded({ sku: 'tea ☕' }))
    const stored = await message(`${prefix}_shop~carts`, receipt.offset ?? -1)
    expect(stored.headers?.get('Content-Type')).toBe('application/cloudevents+json')
    expect(stored.headers?.get('Nats-Msg-Id')).toBe(receipt.id)
    expect(stored.headers?.get('Millrace-Key')).toBe('tea%20%E2%98%95')
    expect(stored.json()).toMatchObject({
      specversion: '1.0',
      id: receipt.id,
      type: 'cart.item.added',
      data: { sku: 'tea ☕' },
    })
    await expect.poll(() => seen.length).toBe(1)
    expect(new CloudEvent(JSON.parse(seen[0] as string)).type).toBe('cart.item.added')
  })

  it('events are written in binary mode if the URL says so, and come back unchanged', async () => {
    await open('&content=binary')
    const notes = stream('notes')
    const kinds = [{ a: [1, 'ü'] }, 'text', null, 12345678901234567890n.toString()]
    for (const data of kinds) await broker.publish(notes, { type: 'note', data, extensions: { region: 'Euro €' } })
    await broker.publish(notes, {
      type: 'note',
      data: new Uint8Array([0, 255]),
      datacontenttype: 'application/octet-stream',
    })
    await broker.publish(notes, { type: 'note', data: 'plain', datacontenttype: 'text/plain' })
    const given = await collecting(broker, 'notes')
    await expect.poll(() => given.length).toBe(6)
    const read: StoredEvent[] = []
    for await (const each of broker.read(notes)) read.push(each)
    expect(read.map(({ data }) => data)).toEqual([...kinds, new Uint8Array([0, 255]), 'plain'])
    const stored = await message(`${prefix}_notes`, read[0]?.offset ?? 0)
    expect(stored.headers?.get('ce-specversion')).toBe('1.0')
    expect(stored.headers?.get('ce-region')).toBe('Euro%20%E2%82%AC')
    expect(stored.headers?.get('ce-datacontenttype')).toBe('application/json')
    expect(stored.string()).toBe('{"a":[1,"ü"]}')
    // Another SDK reads the same message: its headers are those of HTTP, but for the type of the data.
    const asHttp = Object.fromEntries(
      [...(stored.headers ?? [])].map(([name, [value]]) => [name, decodeURIComponent(value as string)]),
    )
    const other = HTTP.toEvent({
      headers: { ...asHttp, 'content-type': asHttp['ce-datacontenttype'] as string },
      body: stored.string(),
    }) as CloudEvent
    expect(other).toMatchObject({ type: 'note', data: { a: [1, 'ü'] } })
  })

  it('messages of a plain client arrive in handlers: structured, binary, and JSON without headers', async () => {
    await open()
    const carts = stream('carts', { events: [ItemAdded] })
    await broker.publish(carts, ItemAdded({ sku: 'own' }))
    const given = await collecting(broker, 'carts')
    const made = (sku: string): CloudEvent<{ sku: string }> =>
      new CloudEvent({ source: '/plain', type: 'cart.item.added', data: { sku } })
    // Published without JetStream's client, and without an answer: as core NATS has it.
    plain.publish(`${prefix}.carts`, JSON.stringify(made('bare')))
    const structured = headers()
    structured.set('content-type', 'application/cloudevents+json; charset=utf-8')
    plain.publish(`${prefix}.carts`, JSON.stringify(made('structured')), { headers: structured })
    const http = HTTP.binary(made('binary'))
    const binary = headers()
    for (const [name, value] of Object.entries(http.headers))
      binary.set(name === 'content-type' ? 'ce-datacontenttype' : name, String(value))
    plain.publish(`${prefix}.carts`, http.body as string, { headers: binary })
    plain.publish(`${prefix}.carts.~.2`, JSON.stringify(made('partition 2')))
    await expect
      .poll(() => given.map(({ data }) => (data as { sku: string }).sku).sort())
      .toEqual(['bare', 'binary', 'own', 'partition 2', 'structured'])
    expect(given.every(({ source }) => source !== '')).toBe(true)
    expect(await broker.deadLetters('worker').list()).toEqual([])
  })

  it('a plain client’s message ids deduplicate with ours', async () => {
    await open()
    const carts = stream('carts')
    await broker.publish(carts, { id: 'first', type: 'note', data: 1 })
    const twice = headers()
    twice.set('Nats-Msg-Id', 'first')
    const answer = await plain.request(`${prefix}.carts`, '{}', { headers: twice, timeout: 5000 })
    expect(answer.json()).toMatchObject({ duplicate: true })
    const own = headers()
    own.set('Nats-Msg-Id', 'theirs')
    await plain.request(
      `${prefix}.carts`,
      JSON.stringify(new CloudEvent({ id: 'theirs', source: '/p', type: 'note' })),
      { headers: own, timeout: 5000 },
    )
    expect(await broker.publish(carts, { id: 'theirs', type: 'note', data: 2 })).toMatchObject({ duplicate: true })
  })

  it.each([['stream'], ['queue']] as const)(
    'poison goes to the dead letters of a %s with its bytes, and stops no consumer',
    async (what) => {
      await open()
      const jobs = what === 'stream' ? stream('jobs', { events: [ItemAdded] }) : queue('jobs', { events: [ItemAdded] })
      await broker.publish(jobs, ItemAdded({ sku: 'before' }))
      const given = await collecting(broker, 'jobs')
      const bytes = Buffer.from([0xff, 0xfe, 0x00])
      const noEvent = '{"sku":"no event"}'
      const wrongSchema = JSON.stringify(
        new CloudEvent({ id: 'wrong', source: '/p', type: 'cart.item.added', data: { sku: 5 } }),
      )
      for (const poison of ['not JSON', '42', noEvent, bytes, wrongSchema, '']) plain.publish(`${prefix}.jobs`, poison)
      await plain.flush()
      await broker.publish(jobs, ItemAdded({ sku: 'after' }))
      await expect.poll(() => given.length, { timeout: 10_000 }).toBe(2)
      await expect.poll(async () => (await broker.deadLetters('worker').list()).length, { timeout: 10_000 }).toBe(6)
      const letters = await broker.deadLetters('worker').list()
      expect(new Set(letters.map(({ text }) => text))).toEqual(
        new Set([
          'not JSON',
          '42',
          noEvent,
          `data:application/octet-stream;base64,${bytes.toString('base64')}`,
          wrongSchema,
          '',
        ]),
      )
      expect(letters.map(({ failure }) => failure.kind)).toEqual(letters.map(() => 'poison'))
      expect(given.map(({ data }) => data)).toEqual([{ sku: 'before' }, { sku: 'after' }])
    },
  )

  it('a channel of the latest of each key is a stream whose subjects end with the key', async () => {
    await open()
    const prices = stream('prices', { retain: { latestByKey: true } })
    for (const [key, data] of [
      ['tea', 1],
      ['coffee/arabica 1', 2],
      ['tea', 3],
    ] as const)
      await broker.publish(prices, { type: 'price', partitionkey: key, data })
    const info = (await plain.request(`$JS.API.STREAM.INFO.${prefix}_prices`, '{"subjects_filter":">"}')).json<{
      state: { subjects: object }
    }>()
    expect(Object.keys(info.state.subjects).map((subject) => subject.split('.').at(-1))).toEqual(
      expect.arrayContaining(['tea', 'coffee/arabica%201']),
    )
    const read: unknown[] = []
    for await (const { data } of broker.read(prices)) read.push(data)
    expect(read.sort()).toEqual([2, 3])
  })
})
