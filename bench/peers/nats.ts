/**
 * NATS JetStream: a stream on disk, and a durable pull consumer with explicit acknowledgement. By default it syncs
 * every two minutes, so a power cut can lose acknowledged events. `nats-synced` syncs every write (`sync_interval:
 * always`, which needs a server of 2.10 or later).
 *
 * The server is the newest that `npm run engines` has built, or else the one on the path. MILLRACE_NATS_SERVER names
 * another one.
 */
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import {
  AckPolicy,
  type ConsumerMessages,
  type JetStreamClient,
  jetstream,
  jetstreamManager,
  StorageType,
} from '@nats-io/jetstream'
import { connect, type NatsConnection } from '@nats-io/transport-node'
import { type BareEvent, bareEvent, type CartItem } from '../events.ts'
import { MillraceSystem } from '../millrace.ts'
import type { Consuming, ItemHandler, OpenSystem, Peer, Server, System } from '../system.ts'
import { freePort, programOf, startServer } from './server.ts'

const SUBJECT = 'carts'
const MESSAGES_AHEAD = 5000

class NatsJetStream implements System {
  readonly #connection: NatsConnection
  readonly #stream: JetStreamClient
  readonly #open: ConsumerMessages[] = []

  private constructor(connection: NatsConnection) {
    this.#connection = connection
    this.#stream = jetstream(connection)
  }

  static async open(url: string): Promise<NatsJetStream> {
    const connection = await connect({ servers: url })
    const manager = await jetstreamManager(connection)
    await manager.streams.add({ name: SUBJECT, subjects: [SUBJECT], storage: StorageType.File })
    return new NatsJetStream(connection)
  }

  publish(item: CartItem): Promise<unknown> {
    return this.#stream.publish(SUBJECT, JSON.stringify(bareEvent(item)), { timeout: 60_000 })
  }

  async consume(name: string, handler: ItemHandler): Promise<Consuming> {
    const manager = await jetstreamManager(this.#connection)
    await manager.consumers.add(SUBJECT, {
      durable_name: name,
      ack_policy: AckPolicy.Explicit,
      max_ack_pending: MESSAGES_AHEAD * 2,
    })
    const consumer = await this.#stream.consumers.get(SUBJECT, name)
    const messages = await consumer.consume({
      max_messages: MESSAGES_AHEAD,
      callback: (message) => {
        handler(message.json<BareEvent>().data).then(
          () => message.ack(),
          () => message.nak(),
        )
      },
    })
    this.#open.push(messages)
    return {
      settle: async () => {
        await new Promise(setImmediate)
        await this.#connection.flush()
        const { num_ack_pending: pending } = await consumer.info()
        if (pending !== 0) throw new Error(`${pending} events were not acknowledged`)
      },
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#open.map((messages) => messages.close()))
    await this.#connection.close()
  }
}

function program(): string | null {
  const built = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'millrace-engines', 'nats')
  return process.env['MILLRACE_NATS_SERVER'] ?? programOf('nats-server', [built])
}

async function start(directory: string, sync: string): Promise<Server> {
  const port = await freePort()
  const file = join(directory, 'nats.conf')
  writeFileSync(file, `listen: "127.0.0.1:${port}"\njetstream { store_dir: "${join(directory, 'data')}"${sync} }\n`)
  const { stop } = await startServer(program() ?? 'nats-server', ['-c', file], port)
  return { url: `nats://127.0.0.1:${port}`, stop }
}

function missing(): Promise<string | null> {
  return Promise.resolve(program() === null ? 'nats-server is not installed' : null)
}

/** Whether the server can sync every write: 2.10 or later. */
async function missingSynced(): Promise<string | null> {
  const lacking = await missing()
  if (lacking !== null) return lacking
  const said = execFileSync(program() ?? 'nats-server', ['--version'], { encoding: 'utf8' })
  const [, major = '0', minor = '0'] = /v(\d+)\.(\d+)/.exec(said) ?? []
  return Number(major) > 2 || (Number(major) === 2 && Number(minor) >= 10)
    ? null
    : `${said.trim()} cannot sync every write; 2.10 and later can`
}

const open: OpenSystem = ({ url }) => NatsJetStream.open(url)

export const nats: Peer = { name: 'nats', missing, start: (directory) => start(directory, ''), open }
export const natsSynced: Peer = {
  name: 'nats-synced',
  missing: missingSynced,
  start: (directory) => start(directory, ', sync_interval: always'),
  open,
}
/** Millrace's engine on the same server with the same settings. */
export const millraceOnNats: Peer = {
  ...natsSynced,
  name: 'millrace on nats',
  open: ({ url, concurrency }) => MillraceSystem.at(`${url}?durable=declared`, concurrency),
}
