/**
 * Clauses 5 and 6: what follows a failed attempt is decided in one file, for handlers, pulled consumers and clients of
 * an older version.
 */
import { describe, expect, test, vi } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { LIMITS } from '../../src/base/limits.ts'
import type { BrokerHost } from '../../src/broker/broker.ts'
import type { Delivery, Emission, Subscription } from '../../src/broker/engine.ts'
import { type AttemptPolicy, afterFailure, defaultPolicy, settleFailed } from '../../src/broker/failed-attempt.ts'
import type { Failure } from '../../src/broker/failure.ts'
import { Log } from '../../src/broker/log.ts'
import type { ConsumerReport } from '../../src/consumer/consumer-report.ts'
import { Rejected, RetryAfter } from '../../src/consumer/failure.ts'
import { DeliveryContext } from '../../src/consumer/handler-context.ts'
import { retryPolicy } from '../../src/consumer/retry-policy.ts'
import { Settlement } from '../../src/consumer/settlement.ts'
import { type Lease, PullConsumer } from '../../src/gateway/pull/pull-consumer.ts'
import type { PullSpec } from '../../src/gateway/pull/pull-spec.ts'
import type { Link } from '../../src/wire/link.ts'
import { ServedSubscription } from '../../src/wire/server/served-subscription.ts'
import { Settlements, VERB } from '../../src/wire/settle-frame.ts'
import { workerSpec } from '../wire/worker-spec.ts'

const half = (): number => 0.5
const fixed: AttemptPolicy = { attempts: 3, delayMs: (attempt) => 100 * attempt }
const failure = (kind: Failure['kind']): Failure => ({ name: 'Error', message: 'no', kind })

describe('one decision', () => {
  test.each<[Failure['kind'], number, object]>([
    ['error', 1, { became: 'retried', delayMs: 100 }],
    ['timeout', 2, { became: 'retried', delayMs: 200 }],
    ['crash', 2, { became: 'retried', delayMs: 200 }],
    ['error', 3, { became: 'dead-lettered' }],
    ['timeout', 3, { became: 'dead-lettered' }],
    ['error', 4, { became: 'dead-lettered' }],
    ['rejected', 1, { became: 'dead-lettered' }],
    ['poison', 1, { became: 'dead-lettered' }],
  ])('an attempt that failed by %s, of 3: number %i', (kind, attempt, after) => {
    expect(afterFailure(attempt, failure(kind), fixed, { random: half })).toEqual(after)
  })

  test('a delay that was asked for goes before the policy’s, and not before the last attempt', () => {
    const wait = { delayMs: 7, random: half }
    expect(afterFailure(1, failure('error'), fixed, wait)).toEqual({ became: 'retried', delayMs: 7 })
    expect(afterFailure(3, failure('error'), fixed, wait)).toEqual({ became: 'dead-lettered' })
  })

  test('the default backoff has full jitter, doubles, and has a longest wait', () => {
    const delays = (random: () => number): unknown[] =>
      [1, 2, 3, 40].map((attempt) => defaultPolicy(99).delayMs(attempt, null, random))
    const { backoffMinMsDefault: min, backoffMaxMsDefault: max } = LIMITS
    expect(delays(() => 1)).toEqual([min, 2 * min, 4 * min, max])
    expect(delays(half)).toEqual([min / 2, min, 2 * min, max / 2])
    expect(delays(() => 0)).toEqual([0, 0, 0, 0])
  })

  test('nothing follows where the delivery is no longer this instance’s', () => {
    const gone = { retry: () => false, deadLetter: () => false }
    for (const attempt of [1, 3])
      expect(settleFailed(gone, { attempt } as Delivery, failure('error'), fixed, { random: half })).toBe(null)
  })
})

/** A subscription that notes what became of each delivery. */
class Noted {
  readonly verbs: unknown[] = []
  readonly subscription = {
    retry: (_delivery: Delivery, delayMs: number, { kind }: Failure) => this.#note('retry', delayMs, kind),
    deadLetter: (_delivery: Delivery, { kind }: Failure) => this.#note('dead letter', kind),
    complete: () => {
      throw new Error('no')
    },
    pause: () => undefined,
    renew: () => undefined,
    flushed: async () => undefined,
    close: async () => undefined,
  } as unknown as Subscription

  #note(...verb: readonly unknown[]): boolean {
    this.verbs.push(verb)
    return true
  }
}

function deliveryOf(attempt: number): Delivery {
  const event = { id: 'e', type: 'noted', key: null, text: '{"type":"noted"}', offset: 0, timeMs: 0 }
  return { ...event, channel: 'notes', attempt, redriven: false, attachment: null }
}

const POLICY = { attempts: 3 }

function byHandler(attempt: number, thrown: unknown): unknown[] {
  const noted = new Noted()
  const report = { failed: () => undefined, settled: () => undefined } as unknown as ConsumerReport
  const host = {
    plan: { retry: retryPolicy(POLICY) },
    broker: { random: half },
    random: half,
    report,
    newer: { neededBy: () => null },
    settled: () => undefined,
  }
  const settlement = new Settlement(host as never, noted.subscription)
  settlement.failed(new DeliveryContext({ name: 'worker' } as never, deliveryOf(attempt)), thrown)
  return noted.verbs
}

async function byPull(attempt: number, act: (consumer: PullConsumer, lease: Lease) => unknown): Promise<unknown[]> {
  const noted = new Noted()
  const spec = { channels: ['*'], wants: [], from: 'end', leases: 1, onDead: null, leaseMs: 60_000 }
  const engine = { clock: systemClock, subscribe: async () => noted.subscription }
  const host = { engine, random: half, log: new Log(null) } as unknown as BrokerHost
  const shelf = { leases: new Map(), bytes: 0, ended: () => undefined, report: () => undefined }
  const pullSpec = { ...spec, retry: retryPolicy(POLICY) } as unknown as PullSpec
  const consumer = await PullConsumer.start('worker', pullSpec, host, shelf)
  act(consumer, { id: 'l', delivery: deliveryOf(attempt), consumer, untilMs: 0, emissions: null, observed: null })
  await consumer.stop()
  return noted.verbs
}

/** A client of an older version: the server settles for it what it completed and the engine refused. */
async function byServer(attempt: number): Promise<unknown[]> {
  const noted = new Noted()
  vi.spyOn(Math, 'random').mockReturnValue(0.5)
  const link = { send: () => undefined, soon: () => undefined, flush: () => undefined } as unknown as Link
  const served = new ServedSubscription(
    1,
    { ...workerSpec, attemptsMax: POLICY.attempts },
    {
      link,
      again: false,
      knows: () => true,
      look: async () => undefined,
      checkedEmissions: (emissions: readonly Emission[]) => emissions,
    },
  )
  served.begin(noted.subscription)
  const delivery = deliveryOf(attempt)
  served.deliver([delivery])
  served.collect()
  const body = Buffer.alloc(16 + 5)
  body.writeUInt32LE(1, 0)
  body.writeUInt32LE(1, 4)
  body.writeUInt32LE(delivery.attachment as number, 16)
  body[20] = VERB.complete
  served.settle(new Settlements(body, null))
  await served.close()
  vi.restoreAllMocks()
  return noted.verbs
}

describe('handlers, pulled consumers and served subscriptions agree', () => {
  test.each([1, 2, 3])('attempt %i of 3 that fails', async (attempt) => {
    const handled = byHandler(attempt, new Error('no'))
    expect(handled).toHaveLength(1)
    expect(handled).toEqual([attempt < 3 ? ['retry', 500 * attempt, 'error'] : ['dead letter', 'error']])
    expect(await byPull(attempt, (consumer, lease) => consumer.retry(lease, null, failure('error')))).toEqual(handled)
    expect(await byServer(attempt)).toEqual(handled)
  })

  test('an event that is rejected', async () => {
    const handled = byHandler(1, new Rejected('no'))
    expect(handled).toEqual([['dead letter', 'rejected']])
    expect(await byPull(1, (consumer, lease) => consumer.reject(lease, failure('rejected')))).toEqual(handled)
  })

  test('an attempt with a delay of its own', async () => {
    for (const attempt of [1, 3]) {
      const handled = byHandler(attempt, new RetryAfter(42, 'no'))
      expect(handled).toEqual([attempt < 3 ? ['retry', 42, 'error'] : ['dead letter', 'error']])
      expect(await byPull(attempt, (consumer, lease) => consumer.retry(lease, 42, failure('error')))).toEqual(handled)
    }
  })
})
