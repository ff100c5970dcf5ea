/**
 * Records that no consumer log needs are deleted from the topic. A failure is repeated, and raises an alarm if it
 * lasts.
 */
import { expect, test } from 'vitest'
import { LastingFailures } from '../../src/base/lasting-failures.ts'
import type { KafkaClient } from '../../src/engines/kafka/client.ts'
import { ConsumerLogTopic } from '../../src/engines/kafka/consumer-log-topic.ts'

/** Stores nothing: it gives out offsets, and deletes as it is told to. */
function client(deleting: () => Promise<void>): KafkaClient {
  let end = 0
  let begun = false
  const leader = async (what: string): Promise<unknown> => {
    if (what.startsWith('deleting')) return deleting()
    if (what.startsWith('writing')) {
      const base = end
      end += 5000
      return { base }
    }
    if (begun) return [{ code: 0, bytes: Buffer.alloc(0), next: end }]
    begun = true
    return 0
  }
  return { library: { crc32c: () => 0 }, leader } as unknown as KafkaClient
}

test('a failure to delete that lasts is an alarm, which ends with the first success', async () => {
  const told: string[] = []
  const failures = new LastingFailures(3, { raise: (message) => told.push(message), end: () => told.push('ended') })
  let failing = true
  let tries = 0
  const topic = new ConsumerLogTopic(
    client(async () => {
      tries++
      if (failing) throw new Error('not authorized')
    }),
    'consumerLogs',
    failures,
  )
  await topic.read('w/c/0')
  await Promise.all(Array.from({ length: 5000 }, (_, version) => topic.append('w/c/0', version, Buffer.from('x'))))
  for (let times = 1; times <= 3; times++) {
    topic.trim('w/c/0', 4999)
    await expect.poll(() => tries).toBe(times)
  }
  await expect.poll(() => told).toEqual([expect.stringMatching(/consumer log topic "consumerLogs".*not authorized/)])
  failing = false
  topic.trim('w/c/0', 4999)
  await expect.poll(() => told.at(-1)).toBe('ended')
  // Nothing is left to delete.
  topic.trim('w/c/0', 4999)
  expect(tries).toBe(4)
})
