/**
 * Replays the recorded webhooks, at a pace, once each.
 *
 * It keeps no state: after a restart it looks at what is in the stream, and goes on behind the last one. Should it publish one again all the
 * same, its id is known and nothing is stored twice.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { attribute, type Broker } from 'millrace'
import { github } from './events.ts'
import { recordedWebhooks } from './recorded.ts'

export interface Feeder {
  /** How many there are in all, and how many were there already. */
  readonly total: number
  readonly resumedAt: number
  /** Resolves, when the feeder has ended, with how many it published. */
  stop(): Promise<number>
}

export async function startFeeder(broker: Broker, paceMs: number): Promise<Feeder> {
  const webhooks = recordedWebhooks()
  const resumedAt = await nextIndex(broker)
  const stopping = new AbortController()
  const feeding = feed()
  // A failure is told when the feeder is stopped; until then the shop goes on without it.
  feeding.catch(() => {})
  return {
    total: webhooks.length,
    resumedAt,
    stop: () => {
      stopping.abort()
      return feeding
    },
  }

  async function feed(): Promise<number> {
    let published = 0
    for (const webhook of webhooks.slice(resumedAt)) {
      await wait(paceMs, undefined, { signal: stopping.signal }).catch(() => {})
      if (stopping.signal.aborted) break
      const { duplicate } = await broker.publish(github, webhook)
      if (!duplicate) published++
    }
    return published
  }
}

async function nextIndex(broker: Broker): Promise<number> {
  let next = 0
  for await (const event of broker.read(github)) {
    if (event.id.startsWith('recorded-')) next = Math.max(next, Number(attribute(event, 'sequence')) + 1)
  }
  return next
}
