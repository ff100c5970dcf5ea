/** BullMQ on the same synced Redis: one job per event, removed when it is completed. */
import { Queue, Worker } from 'bullmq'
import { type BareEvent, bareEvent, type CartItem } from '../events.ts'
import type { Consuming, ItemHandler, OpenSystem, Peer, System } from '../system.ts'
import { missingRedis, startSyncedRedis } from './redis.ts'

const QUEUE = 'carts'
/** Higher values made it slower here. */
const CONCURRENCY = 200

class BullMq implements System {
  readonly #connection: {
    readonly url: string
    readonly enableAutoPipelining: true
    readonly maxRetriesPerRequest: null
  }
  readonly #queue: Queue<BareEvent>
  readonly #workers: Worker<BareEvent>[] = []

  constructor(url: string) {
    this.#connection = { url, enableAutoPipelining: true, maxRetriesPerRequest: null }
    this.#queue = new Queue<BareEvent>(QUEUE, {
      connection: this.#connection,
      defaultJobOptions: { removeOnComplete: true },
    })
  }

  publish(item: CartItem): Promise<unknown> {
    return this.#queue.add('item', bareEvent(item))
  }

  async consume(_name: string, handler: ItemHandler): Promise<Consuming> {
    const worker = new Worker<BareEvent>(QUEUE, ({ data }) => handler(data.data), {
      connection: this.#connection,
      concurrency: CONCURRENCY,
    })
    this.#workers.push(worker)
    await worker.waitUntilReady()
    return {
      settle: async () => {
        while ((await this.#queue.getActiveCount()) > 0) await new Promise(setImmediate)
      },
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#workers.map((worker) => worker.close(true)))
    await this.#queue.close()
  }
}

const open: OpenSystem = ({ url }) => Promise.resolve(new BullMq(url))

export const bullmq: Peer = { name: 'bullmq', missing: missingRedis, start: startSyncedRedis, open }
