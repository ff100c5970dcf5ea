/**
 * Kafka with @platformatic/kafka: a topic of one partition that syncs every batch; a producer that sends together what
 * was published during the last send; and a consumer of a group that commits its offset after the handlers, one commit
 * at a time.
 */
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Admin, Consumer, MessagesStreamModes, Producer } from '@platformatic/kafka'
import { type BareEvent, bareEvent, type CartItem } from '../events.ts'
import { MillraceSystem } from '../millrace.ts'
import type { Consuming, ItemHandler, Peer, Server, System } from '../system.ts'
import { freePort, programOf, startServer } from './server.ts'

const TOPIC = 'plain-carts'
const TOGETHER = 500

interface Waiting {
  readonly item: CartItem
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

class PlainKafka implements System {
  readonly #client: { readonly clientId: string; readonly bootstrapBrokers: string[] }
  readonly #producer: Producer
  readonly #closing: (() => unknown)[] = []
  #waiting: Waiting[] = []
  #sending = false

  private constructor(url: string) {
    this.#client = { clientId: 'bench', bootstrapBrokers: [url.replace('kafka://', '')] }
    // Idempotent like Millrace's producer: a batch that is sent again is stored once.
    this.#producer = new Producer({ ...this.#client, idempotent: true })
    this.#closing.push(() => this.#producer.close())
  }

  static async open(url: string): Promise<PlainKafka> {
    const system = new PlainKafka(url)
    const admin = new Admin(system.#client)
    await admin.createTopics({
      topics: [TOPIC],
      partitions: 1,
      replicas: 1,
      configs: [{ name: 'flush.messages', value: '1' }],
    })
    await admin.close()
    return system
  }

  publish(item: CartItem): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (this.#sending) return
      this.#sending = true
      process.nextTick(() => void this.#send())
    })
  }

  async #send(): Promise<void> {
    while (this.#waiting.length > 0) {
      const together = this.#waiting.splice(0, TOGETHER)
      const messages = together.map(({ item }) => ({
        topic: TOPIC,
        partition: 0,
        key: Buffer.from(item.cart),
        value: Buffer.from(JSON.stringify(bareEvent(item))),
      }))
      try {
        await this.#producer.send({ acks: -1, messages })
        for (const { resolve } of together) resolve()
      } catch (error) {
        for (const { reject } of together) reject(error)
      }
    }
    this.#sending = false
  }

  async consume(name: string, handler: ItemHandler): Promise<Consuming> {
    const consumer = new Consumer({ ...this.#client, groupId: name })
    const stream = await consumer.consume({
      topics: [TOPIC],
      mode: MessagesStreamModes.EARLIEST,
      autocommit: false,
      highWaterMark: 5000,
      maxWaitTime: 500,
    })
    const handling = new Set<Promise<void>>()
    let last = -1n
    let committed = -1n
    let committing: Promise<void> | null = null
    const commit = async (): Promise<void> => {
      while (committed < last) {
        const upTo = last
        await Promise.all(handling)
        await consumer.commit({ offsets: [{ topic: TOPIC, partition: 0, offset: upTo + 1n, leaderEpoch: 0 }] })
        committed = upTo
      }
      committing = null
    }
    stream.on('data', ({ value, offset }) => {
      const one = handler((JSON.parse(value.toString()) as BareEvent).data).finally(() => handling.delete(one))
      handling.add(one)
      last = offset
      committing ??= Promise.resolve().then(commit)
    })
    this.#closing.unshift(
      (): unknown => stream.close(),
      () => consumer.close(true),
    )
    return {
      settle: async () => {
        await committing
      },
    }
  }

  async close(): Promise<void> {
    for (const close of this.#closing) await close()
  }
}

function jars(): string | null {
  const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'millrace-engines')
  const folder = existsSync(cache) ? readdirSync(cache).find((name) => /^kafka-[\d.]+$/.test(name)) : undefined
  return folder === undefined ? null : join(cache, folder)
}

async function start(directory: string): Promise<Server> {
  const [port, controller] = [await freePort(), await freePort()]
  const file = join(directory, 'server.properties')
  const settings = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controller}`,
    listeners: `PLAINTEXT://127.0.0.1:${port},CONTROLLER://127.0.0.1:${controller}`,
    'controller.listener.names': 'CONTROLLER',
    'log.dirs': join(directory, 'logs'),
    'log.flush.interval.messages': '1',
    'offsets.topic.replication.factor': '1',
    'offsets.topic.num.partitions': '4',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
  }
  writeFileSync(
    file,
    Object.entries(settings)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  )
  const java = programOf('java') ?? 'java'
  const classPath = ['-cp', `${jars()}/*`]
  execFileSync(
    java,
    [...classPath, 'kafka.tools.StorageTool', 'format', '-t', randomBytes(16).toString('base64url'), '-c', file],
    { stdio: 'pipe' },
  )
  const { stop } = await startServer(java, ['-Xms256m', '-Xmx512m', ...classPath, 'kafka.Kafka', file], port)
  return { url: `kafka://127.0.0.1:${port}`, stop }
}

function missing(): Promise<string | null> {
  if (programOf('java') === null) return Promise.resolve('there is no Java')
  return Promise.resolve(jars() === null ? 'Kafka is not there: npm run engines -- --fetch' : null)
}

export const kafka: Peer = { name: 'kafka', missing, start, open: ({ url }) => PlainKafka.open(url) }
/** Millrace's engine on the same server with the same settings. */
export const millraceOnKafka: Peer = {
  ...kafka,
  name: 'millrace on kafka',
  open: ({ url, concurrency }) => MillraceSystem.at(url, concurrency),
}
