/** Why a consumer does not move: the first reason is the one that decides. */
import { unknownConsumer } from '../broker/consumer-errors.ts'
import type { ConsumerDescription } from '../broker/description.ts'
import type { Engine } from '../broker/engine.ts'
import { idleReasons } from './hindrances.ts'
import { durationText, type Reason, reason } from './reason.ts'
import { storeReasons } from './store-reasons.ts'

export interface ConsumerWhy {
  readonly consumer: string
  /** It has events to handle. */
  readonly hasWork: boolean
  readonly reasons: readonly Reason[]
  readonly notKnown: readonly string[]
}

/** Why a consumer does not move. @throws UNKNOWN_CONSUMER when no consumer of the name was ever started */
export async function whyConsumer(engine: Engine, consumer: string): Promise<ConsumerWhy> {
  const description = await engine.consumers.describe(consumer)
  if (description === null) throw unknownConsumer(consumer)
  const inspection = await engine.consumers.inspect(consumer, null)
  const lag = description.channels.reduce((sum, position) => sum + position.lag, 0)
  const idle = idleReasons(inspection, description)
  const work = workReasons(description, lag)
  const store = await storeReasons(engine)
  const reasons = lag === 0 ? [...work, ...idle] : [...store, ...idle, ...work]
  return {
    consumer,
    hasWork: lag > 0,
    reasons,
    notKnown:
      inspection.instances.length < description.instances
        ? ['what the instances in other processes have in flight, and for how long']
        : [],
  }
}

function workReasons(description: ConsumerDescription, lag: number): Reason[] {
  const { stalled, retrying, parked, deadLetters, rate, inFlight, paused } = description
  const reasons: Reason[] = []
  if (lag === 0) reasons.push(reason('nothing-to-do', 'it has handled every event of its channels', { deadLetters }))
  if (stalled !== null)
    reasons.push(
      reason(
        'stalled',
        `nothing was done since ${new Date(stalled.sinceMs).toISOString()}: ${stalled.reason}`,
        stalled,
      ),
    )
  if (retrying > 0)
    reasons.push(
      reason(
        'retrying',
        `${retrying} event(s) wait for their next attempt; later events of their keys wait behind them`,
        { retrying },
      ),
    )
  if (parked > 0)
    reasons.push(
      reason('behind', `${parked} event(s) wait behind dead letters of their keys: redrive or drop these`, {
        parked,
        deadLetters,
      }),
    )
  if (lag > 0 && rate > 0 && stalled === null && !paused) {
    const lagMs = (lag / rate) * 1000
    const text = `it moves: ${rate.toFixed(1)} events a second, with ${lag} left and ${inFlight} in flight; at this rate it needs ${durationText(lagMs)}`
    reasons.push(reason('slow', text, { rate, lag, inFlight }))
  }
  return reasons
}
