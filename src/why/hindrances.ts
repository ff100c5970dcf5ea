/** What holds back a delivery, or a whole consumer, in words. */
import type { ConsumerDescription } from '../broker/description.ts'
import type { Engine, StoredText } from '../broker/engine.ts'
import type { DeliveryState, Inspection, LimitedBy, RetryingEvent } from '../broker/inspection.ts'
import { storedAt } from '../broker/stored-range.ts'
import { durationText, type Reason, reason, timeText } from './reason.ts'

type Behind = Extract<DeliveryState, { readonly state: 'behind' }>

/** Why an event is not delivered yet that will be. */
export async function holdingReasons(
  engine: Engine,
  { consumer, channel }: { readonly consumer: string; readonly channel: string },
  event: StoredText,
  delivery: DeliveryState,
): Promise<Reason[]> {
  const nowMs = engine.clock.now()
  switch (delivery.state) {
    case 'in flight': {
      const attempt = delivery.attempt === null ? '' : `, attempt ${delivery.attempt}`
      const { attempt: number } = delivery
      return [reason('in-flight', `an instance of "${consumer}" has the event${attempt}`, { attempt: number })]
    }
    case 'retrying':
      return [retrying(delivery, nowMs)]
    case 'behind':
      return [behindReason(delivery, nowMs)]
    case 'blocked': {
      const text = `${delivery.letters} dead letter(s) stop "${consumer}" in "${channel}" (onDead: block): redrive or drop them`
      return [reason('blocked', text, { letters: delivery.letters })]
    }
    case 'unmatched':
      return [
        reason('unmatched', `no running consumer of the queue "${channel}" handles the event: start one that does`),
      ]
    case 'newer version': {
      const { type, version } = delivery
      const text = `no running instance of "${consumer}" knows version ${version} of "${type}": deploy the newer definition`
      return [reason('newer-version', text, { type, version })]
    }
    case 'alone':
      return [
        reason(
          'alone',
          'the event was being handled when a process died: it is tried again when nothing else is in flight',
        ),
      ]
    case 'limited':
      return [limitedReason(delivery)]
    case 'redriven':
      return [reason('redriven', 'the event was given back from the dead letters, and waits for its turn')]
    case 'waiting': {
      const before = await ofSameKey(engine, event, delivery.retries)
      if (before !== null) return [behindReason(before, nowMs)]
      const { ahead } = delivery
      if (ahead === 0) return [reason('next', 'the event is the next one', { ahead })]
      return [reason('behind-others', `${ahead} event(s) before it are not done`, { ahead })]
    }
    default:
      return []
  }
}

function retrying({ attempts, dueAtMs, failure }: Omit<RetryingEvent, 'channel' | 'offset'>, nowMs: number): Reason {
  const due = dueAtMs > nowMs ? `waits until ${timeText(dueAtMs)} for its next attempt` : 'is due for its next attempt'
  const text = `the event ${due}. ${attempts} attempt(s) failed, the last one with: ${failure.message}`
  return reason('retrying', text, { attempts, dueAtMs, failure })
}

const HELD_BY: Readonly<Record<Behind['by'], string>> = {
  'dead letter': 'is a dead letter: redrive or drop it',
  retry: 'waits for its next attempt',
  delivery: 'is being handled',
  event: 'waits too',
}

function behindReason({ by, event, attempts, dueAtMs, failure }: Behind, nowMs: number): Reason {
  const which =
    event === null
      ? 'an earlier event of the same key'
      : `an earlier event of the same key, at offset ${event.offset} of "${event.channel}",`
  const tried = attempts === null || attempts === 0 ? '' : ` (${attempts} attempt(s))`
  const until = dueAtMs === null || dueAtMs <= nowMs ? '' : `, until ${timeText(dueAtMs)}`
  const error = failure === null ? '' : `. Its error: ${failure.message}`
  const text = `the event waits behind another: ${which} ${HELD_BY[by]}${tried}${until}${error}`
  return reason('behind', text, { by, event, attempts, dueAtMs, failure })
}

/** The first of these events that has the key. Their keys are not in the records, so the events are read. */
async function ofSameKey(
  engine: Engine,
  { key }: StoredText,
  retries: readonly RetryingEvent[],
): Promise<Behind | null> {
  if (key === null) return null
  for (const { channel, offset, attempts, dueAtMs, failure } of retries) {
    const retried = await storedAt(engine, channel, offset)
    if (retried?.key === key)
      return { state: 'behind', by: 'retry', event: { channel, offset }, attempts, dueAtMs, failure }
  }
  return null
}

/** Why no instance takes an event now. Empty where some may. */
export function idleReasons(
  { instances, live }: Pick<Inspection, 'instances' | 'live'>,
  description: ConsumerDescription | null,
): Reason[] {
  const reasons: Reason[] = []
  const pause = description?.pause ?? null
  if (pause !== null) reasons.push(pausedReason(pause))
  const running = description?.instances ?? instances.length
  if (running === 0) {
    const text = 'no instance of the consumer runs: start the application that has it'
    return [...reasons, reason('no-instance', text)]
  }
  if (running > instances.length && !live) {
    const text = `${running} instance(s) run in other processes`
    reasons.push(reason('elsewhere', text, { instances: running }))
  }
  if (instances.length === 0) return reasons
  const hung = instances.filter((instance) => instance.hung)
  if (hung.length > 0) reasons.push(hungReason(hung))
  const open = instances.flatMap(({ circuit }) => circuit ?? [])
  if (open.length > 0) {
    const text = `the circuit breaker of ${open.length} instance(s) is open: ${open[0]}. They try one event after each wait`
    reasons.push(reason('circuit-open', text, { instances: open.length, circuits: open }))
  }
  const limited = instances.find((instance) => (instance.limited ?? null) !== null)?.limited
  if (limited !== undefined && limited !== null) reasons.push(limitedReason(limited))
  if (pause === null && open.length < instances.length && instances.every(({ paused }) => paused))
    reasons.push(reason('instances-paused', `each of its ${instances.length} instance(s) is paused by its application`))
  const able = instances.filter((instance) => !instance.hung && !instance.paused)
  const inFlight = able.reduce((sum, instance) => sum + instance.inFlight, 0)
  if (able.length > 0 && able.every((instance) => instance.inFlight >= instance.credit)) {
    const text = `its instances are busy: all of the ${inFlight} events that they take at once are being handled (concurrency)`
    reasons.push(reason('busy', text, { inFlight }))
  }
  return reasons
}

function limitedReason({ limit, kind, dueAtMs }: LimitedBy): Reason {
  const until = dueAtMs === null ? 'until another event has ended' : `until ${timeText(dueAtMs)} at least`
  const what = kind === 'rate' ? 'so many have begun in its span' : 'so many run already'
  return reason('limited', `limit "${limit}" holds events back ${until}: ${what}`, { limit, kind, dueAtMs })
}

export function pausedReason({ sinceMs, reason: why, by }: NonNullable<ConsumerDescription['pause']>): Reason {
  const whose = by === null ? '' : ` by ${by}`
  const text = `the consumer is paused since ${timeText(sinceMs)}${whose}${why === null ? '' : `: ${why}`}. Resume it`
  return reason('paused', text, { sinceMs, reason: why, by })
}

function hungReason(hung: Inspection['instances']): Reason {
  const silentMs = Math.max(...hung.map((instance) => instance.silentMs))
  const text = `${hung.length} instance(s) did not renew their lease for ${durationText(silentMs)}: their process hangs, or a handler keeps its event loop busy`
  return reason('hung', text, { instances: hung.length, silentMs })
}
