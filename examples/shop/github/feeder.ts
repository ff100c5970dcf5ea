/**
 * Replays the recorded webhooks at a given pace, once each.
 *
 * It keeps no state: after a restart it reads the stream and continues after the last one. If it publishes one again,
 * the id is known and nothing is stored twice.
 */
import { setTimeout as wait } from 'node:timers/promises'
import { attribute, type Broker } from 'millrace'
import { github } from './events.ts'
import { recordedWebhooks } from './recorded.ts'

export interface Feeder {
  /** How many there are in total, and how many were stored before. */
  readonly total: number
  readonly resumedAt: number
  /** Resolves with the number of published webhooks when the feeder has ended. */
  stop(): Promise<number>
}

export async function startFeeder(broker: Broker, paceMs: number): Promise<Feeder> {
  const webhooks = recordedWebhooks()
  const resumedAt = await nextIndex(broker)
  const stopping = new AbortController()
  const feeding = feed()
  // A failure is reported when the feeder is stopped; until then the shop continues without it.
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
