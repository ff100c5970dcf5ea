/** Plain Kafka clients read the events of Millrace, and their own records arrive in handlers. */
import { randomUUID } from 'node:crypto'
import { Admin, Consumer, type Message, MessagesStreamModes, Producer } from '@platformatic/kafka'
import { CloudEvent, Kafka } from 'cloudevents'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { kafkaKind } from '../../scripts/engines/engines.ts'
import { Server } from '../../scripts/engines/server.ts'
import { type Broker, connect, queue, type StoredEvent, stream } from '../../src/index.ts'
import { collecting, ItemAdded } from './cases.ts'
import { kindOf } from './servers.ts'

const kind = kindOf('kafka', () => kafkaKind())

interface Plain {
  readonly key: string | null
  readonly value: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly offset: number
}

describe.skipIf(kind === undefined)('Kafka', () => {
  let server: Server
  let prefix: string
  let broker: Broker
  let producer: Producer
  const brokers: Broker[] = []
  const client = (): { clientId: string; bootstrapBrokers: string[] } => ({
    clientId: 'plain',
    bootstrapBrokers: [`127.0.0.1:${server.port}`],
  })

  async function open(): Promise<Broker> {
    prefix = `i${randomUUID().slice(0, 8)}.`
    broker = await connect(`${server.url}?partitions=4&prefix=${prefix}`)
    brokers.push(broker)
    return broker
  }

  beforeAll(async () => {
    if (kind === undefined) return
    server = await Server.start(kind)
    producer = new Producer(client())
  }, 120_000)

  afterAll(async () => {
    for (const each of brokers) await each.close()
    await producer?.close()
    await server?.stop()
  }, 60_000)

  /** A number of records of a topic, read by a plain consumer of a group. */
  async function consumed(topic: string, count: number): Promise<Plain[]> {
    const reader = new Consumer({ ...client(), groupId: randomUUID() })
    const messages = await reader.consume({
      topics: [`${prefix}${topic}`],
      mode: MessagesStreamModes.EARLIEST,
      autocommit: true,
    })
    const found: Plain[] = []
    for await (const each of messages) {
      found.push(plainOf(each))
      if (found.length === count) break
    }
    await messages.close()
    reader.close(true)
    return found
  }

  function plainOf({ key, value, headers, offset }: Message<Buffer, Buffer, Buffer, Buffer>): Plain {
    const text = (bytes: Buffer | null | undefined): string | null =>
      bytes === null || bytes === undefined ? null : bytes.toString()
    return {
      key: text(key),
      value: text(value),
      headers: Object.fromEntries([...headers].map(([name, each]) => [name.toString(), each.toString()])),
      offset: Number(offset),
    }
  }

  async function send(
    topic: string,
    ...records: { key?: string | undefined; value?: string | Buffer | undefined; headers?: object }[]
  ): Promise<void> {
    await producer.send({
      acks: -1,
      messages: records.map(({ key, value, headers }) => ({
        topic: `${prefix}${topic}`,
        partition: 0,
        ...(key !== undefined && { key: Buffer.from(key) }),
        ...(value !== undefined && { value: Buffer.from(value) }),
        headers: new Map(
          Object.entries(headers ?? {})
            .filter(([, each]) => each !== undefined)
            .map(([name, each]) => [Buffer.from(name), Buffer.from(String(each))]),
        ),
      })),
    })
  }

  it('events are written in the binary mode: a plain consumer has the data as value, the attributes as headers, offsets as ours', async () => {
    await open()
    const carts = stream('shop.carts', { events: [ItemAdded], key: ({ data }) => data.sku })
    const receipts = [
      await broker.publish(carts, ItemAdded({ sku: 'tea ☕' })),
      await broker.publish(carts, ItemAdded({ sku: 'coffee' }, { subject: 'c-1' })),
    ]
    const records = await consumed('shop.carts', 2)
    expect(records.map(({ offset }) => offset)).toEqual(receipts.map(({ offset }) => offset))
    expect(records.map(({ key, value }) => ({ key, value }))).toEqual([
      { key: 'tea ☕', value: '{"sku":"tea ☕"}' },
      { key: 'coffee', value: '{"sku":"coffee"}' },
    ])
    expect(records[1]?.headers).toMatchObject({
      ce_specversion: '1.0',
      ce_id: receipts[1]?.id,
      ce_source: '/millrace',
      ce_type: 'cart.item.added',
      ce_subject: 'c-1',
      'content-type': 'application/json',
    })
    // Another SDK reads the same record.
    const message = { headers: records[1]?.headers ?? {}, value: JSON.parse(records[1]?.value ?? ''), body: undefined }
    expect(Kafka.toEvent(message)).toMatchObject({
      id: receipts[1]?.id,
      type: 'cart.item.added',
      data: { sku: 'coffee' },
    })
  })

  it('what headers cannot carry is written in the structured mode, and all comes back as it was', async () => {
    await open()
    const notes = stream('notes')
    const kinds = [{ a: [1, 'ü'] }, 'text', null, 12345678901234567890n.toString(), undefined]
    for (const data of kinds) await broker.publish(notes, { type: 'note', data, extensions: { region: 'Euro €' } })
    await broker.publish(notes, {
      type: 'note',
      data: new Uint8Array([0, 255]),
      datacontenttype: 'application/octet-stream',
    })
    await broker.publish(notes, { type: 'note', data: 'plain', datacontenttype: 'text/plain' })
    await broker.publish(notes, { type: 'note', data: 1, extensions: { count: 7, quoted: 'say "hi"' } })
    const read: StoredEvent[] = []
    for await (const each of broker.read(notes)) read.push(each)
    expect(read.map(({ data }) => data)).toEqual([...kinds, new Uint8Array([0, 255]), 'plain', 1])
    expect(read.at(-1)).toMatchObject({ count: 7, quoted: 'say "hi"' })
    // Read again by a process that has not written them.
    const other = await connect(`${server.url}?prefix=${prefix}`)
    const again: StoredEvent[] = []
    for await (const each of other.read(notes)) again.push(each)
    await other.close()
    expect(again).toEqual(read)
    const records = await consumed('notes', 8)
    expect(records[7]?.headers['content-type']).toMatch(/^application\/cloudevents\+json/)
    expect(JSON.parse(records[7]?.value ?? '')).toMatchObject({ type: 'note', count: 7, data: 1 })
  })

  it('what plain clients and other SDKs publish arrives in handlers: structured, binary, compressed, in the order of their keys', async () => {
    await open()
    const carts = stream('carts', { events: [ItemAdded], key: ({ data }) => data.sku })
    await broker.publish(carts, ItemAdded({ sku: 'own' }))
    const given = await collecting(broker, 'carts')
    const made = (sku: string): CloudEvent<{ sku: string }> =>
      new CloudEvent({
        source: '/plain',
        type: 'cart.item.added',
        datacontenttype: 'application/json',
        partitionkey: 'k',
        data: { sku },
      })
    const binary = Kafka.binary(made('binary')) as unknown as { key: string; value: object; headers: object }
    await send('carts', { key: binary.key, value: JSON.stringify(binary.value), headers: binary.headers })
    const structured = Kafka.structured(made('structured')) as unknown as {
      key: string
      value: string
      headers: object
    }
    await send('carts', structured)
    await send('carts', { key: 'k', value: JSON.stringify(made('bare')) })
    await producer.send({
      acks: -1,
      compression: 'gzip',
      messages: ['zip 1', 'zip 2'].map((sku) => ({
        topic: `${prefix}carts`,
        partition: 0,
        key: Buffer.from('k'),
        value: Buffer.from(JSON.stringify(made(sku))),
        headers: new Map([[Buffer.from('content-type'), Buffer.from('application/cloudevents+json')]]),
      })),
    })
    await expect.poll(() => given.length, { timeout: 15_000 }).toBe(6)
    const skus = given.filter(({ source }) => source === '/plain').map(({ data }) => (data as { sku: string }).sku)
    expect(skus).toEqual(['binary', 'structured', 'bare', 'zip 1', 'zip 2'])
    expect(await broker.deadLetters('worker').list()).toEqual([])
  })

  it('an id that a plain client has published is known', async () => {
    await open()
    const carts = stream('carts')
    await broker.publish(carts, { id: 'first', type: 'note', data: 1 })
    await send('carts', { value: JSON.stringify(new CloudEvent({ id: 'theirs', source: '/p', type: 'note' })) })
    // Not before it is seen here: it is stored, and one of two that are under way is first.
    await expect
      .poll(async () => (await broker.publish(carts, { type: 'other', data: 0 })).offset, { timeout: 20_000 })
      .toBeGreaterThan(1)
    expect(await broker.publish(carts, { id: 'theirs', type: 'note', data: 2 })).toMatchObject({
      duplicate: true,
      offset: 1,
    })
  })

  it.each([['stream'], ['queue']] as const)(
    'poison goes to dead letters of a %s with its bytes, and stops nobody',
    async (what) => {
      await open()
      const jobs = what === 'stream' ? stream('jobs', { events: [ItemAdded] }) : queue('jobs', { events: [ItemAdded] })
      await broker.publish(jobs, ItemAdded({ sku: 'before' }))
      const given = await collecting(broker, 'jobs')
      const bytes = Buffer.from([0xff, 0xfe, 0x00])
      const wrongSchema = JSON.stringify(
        new CloudEvent({ id: 'wrong', source: '/p', type: 'cart.item.added', data: { sku: 5 } }),
      )
      const attributes = {
        ce_specversion: '1.0',
        ce_id: 'x',
        ce_source: '/p',
        ce_type: 'cart.item.added',
        'content-type': 'application/json',
      }
      await send(
        'jobs',
        { value: 'not JSON' },
        { value: '{"sku":"no event"}' },
        { value: bytes },
        { value: wrongSchema },
        { key: 'tombstone' },
      )
      await send(
        'jobs',
        { value: '{"sku":', headers: attributes },
        { value: '[]', headers: { 'content-type': 'application/cloudevents+json' } },
      )
      await broker.publish(jobs, ItemAdded({ sku: 'after' }))
      await expect.poll(() => given.length, { timeout: 20_000 }).toBe(2)
      await expect.poll(async () => (await broker.deadLetters('worker').list()).length, { timeout: 20_000 }).toBe(7)
      const letters = await broker.deadLetters('worker').list()
      expect(letters.map(({ text }) => text)).toEqual([
        'not JSON',
        '{"sku":"no event"}',
        `data:application/octet-stream;base64,${bytes.toString('base64')}`,
        wrongSchema,
        '',
        '{"sku":',
        '[]',
      ])
      expect(letters.map(({ failure }) => failure.kind)).toEqual(letters.map(() => 'poison'))
      expect(given.map(({ data }) => data)).toEqual([{ sku: 'before' }, { sku: 'after' }])
    },
  )

  it('a channel of the latest of each key is a compacted topic, in which a record without a value removes its key', async () => {
    await open()
    const prices = stream('prices', { retain: { latestByKey: true } })
    for (const [key, data] of [
      ['tea', 1],
      ['coffee', 2],
      ['tea', 3],
    ] as const)
      await broker.publish(prices, { type: 'price', partitionkey: key, data })
    await broker.publish(prices, { type: 'note', data: 'no key' })
    await send('prices', { key: 'coffee' })
    const read: unknown[] = []
    for await (const { data } of broker.read(prices)) read.push(data)
    expect(read).toEqual([3, 'no key'])
  })

  it('a topic that another program created can hold a channel if it syncs, and is refused with the name of the setting otherwise', async () => {
    await open()
    const admin = new Admin(client())
    await admin.createTopics({
      topics: [`${prefix}weak`],
      partitions: 1,
      replicas: 1,
      configs: [{ name: 'flush.messages', value: '1000' }],
    })
    await admin.createTopics({
      topics: [`${prefix}strong`],
      partitions: 1,
      replicas: 1,
      configs: [{ name: 'flush.messages', value: '1' }],
    })
    await admin.close()
    const refused = { code: 'CLAUSE_REFUSED', details: { engine: 'kafka', clause: 1, setting: 'flush.messages=1' } }
    await expect(broker.publish(stream('weak'), { type: 'note', data: 1 })).rejects.toMatchObject(refused)
    await send('strong', { value: JSON.stringify(new CloudEvent({ source: '/p', type: 'note', data: 0 })) })
    expect(await broker.publish(stream('strong'), { type: 'note', data: 1 })).toMatchObject({ offset: 1 })
    const other = connect(`${server.url}?prefix=${prefix}&durable=replicated`)
    await expect(other).rejects.toMatchObject({
      code: 'CLAUSE_REFUSED',
      details: { clause: 1, setting: 'min.insync.replicas=2' },
    })
  })

  it('a topic of several partitions cannot hold a channel, and is refused with its name', async () => {
    await open()
    const admin = new Admin(client())
    await admin.createTopics({ topics: [`${prefix}wide`], partitions: 3, replicas: 1 })
    await admin.close()
    await expect(broker.publish(stream('wide'), { type: 'note', data: 1 })).rejects.toMatchObject({
      code: 'CHANNEL_CONFLICT',
      details: { partitions: 3 },
    })
  })
})
