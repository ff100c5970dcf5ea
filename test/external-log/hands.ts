/** A consumer that runs in several processes, and notices when two of them have events of one key in flight at once. */
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { type Broker, type Channel, type Consumer, consumer, stream } from '../../src/index.ts'

const KEYS = 24
/** No process is taken for dead, however busy the machine is. */
const LEASE_MS = 20_000
const byOrder = { key: ({ data }: { readonly data: unknown }) => (data as { order: string }).order }
export const orders = stream('shop.orders', byOrder)
export const payments = stream('shop.payments', byOrder)

/** The events that all processes of a test have in flight. */
export class Hands {
  readonly overlaps: string[] = []
  readonly handled = new Set<string>()
  /** How many events each process has handled. */
  readonly by = new Map<string, number>()
  readonly #running = new Map<string, string>()

  /** A consumer as it runs in one process. A process that is `dead` handles nothing any more. */
  worker(
    process: string,
    channels: Parameters<typeof consumer>[1] = [orders, payments],
    dead = (): boolean => false,
    lease = LEASE_MS,
  ): Consumer {
    return consumer('worker', channels, { lease, concurrency: 16 }).onAny(async ({ id, data }, { channel }) => {
      const { order } = data as { order: string }
      if (dead()) return
      const here = `${id} of ${channel} in ${process}`
      const other = this.#running.get(order)
      if (other !== undefined) this.overlaps.push(`${here} began while ${other} ran`)
      this.#running.set(order, here)
      await sleep(Math.random() * 6)
      if (dead()) return void this.forget(process)
      if (this.#running.get(order) === here) this.#running.delete(order)
      this.handled.add(id)
      this.by.set(process, (this.by.get(process) ?? 0) + 1)
    })
  }

  /** A process is dead: nothing is in its hands. */
  forget(process: string): void {
    for (const [order, here] of this.#running) if (here.endsWith(` in ${process}`)) this.#running.delete(order)
  }
}

let round = 0

/** An event of each key to each channel; answers their ids. */
export async function publish(broker: Broker, channels: readonly Channel[] = [orders, payments]): Promise<string[]> {
  const ids: string[] = []
  const turn = ++round
  for (const channel of channels) {
    const events = Array.from({ length: KEYS }, (_, key) => ({
      id: `${channel.name}-${turn}-${key}`,
      type: 'placed',
      data: { order: `o-${key}` },
    }))
    ids.push(...events.map(({ id }) => id))
    await broker.publish(channel, events)
  }
  return ids
}

/** Publishes again and again until it is stopped; answers the ids of all that it published. */
export function publisher(broker: Broker, channels?: readonly Channel[]): { stop(): Promise<string[]> } {
  const ids: string[] = []
  let publishing = true
  const ended = (async () => {
    while (publishing) {
      ids.push(...(await publish(broker, channels)))
      await sleep(15)
    }
  })()
  return {
    stop: async () => {
      publishing = false
      await ended
      return ids
    },
  }
}

/** Until all of these events are handled. */
export const all = (hands: Hands, ids: readonly string[]): Promise<void> =>
  expect.poll(() => ids.filter((id) => !hands.handled.has(id)), { timeout: 15_000 }).toEqual([])
