/** The event that a question is about: by channel and offset, or by its id, which is searched from the newest on. */
import { LIMITS } from '../base/limits.ts'
import type { Engine, StoredText } from '../broker/engine.ts'
import { storedAt, storedBetween } from '../broker/stored-range.ts'
import { durationText, type Reason, reason, timeText } from './reason.ts'

/** The event, or why it is not there. */
export type Found = { readonly event: StoredText } | { readonly event: null; readonly reason: Reason }

/** Looks for the event at an offset. @throws UNKNOWN_CHANNEL when there is no such channel */
export async function eventAt(engine: Engine, channel: string, offset: number): Promise<Found> {
  const { first, next } = await engine.bounds(channel)
  const facts = { channel, offset, first, next }
  if (offset >= next)
    return missing(
      'not-stored',
      `channel "${channel}" has no event at offset ${offset} yet: its next offset is ${next}`,
      facts,
    )
  if (offset < first)
    return missing(
      'removed',
      `retention has removed the event: the oldest event of "${channel}" is at offset ${first}`,
      facts,
    )
  const event = await storedAt(engine, channel, offset)
  if (event !== null) return { event }
  const text = `"${channel}" keeps no event at offset ${offset}: a later event of its key has replaced it, it was done (in a queue), or the offset was never used`
  return missing('removed', text, facts)
}

/**
 * Looks for the newest event with the id, among the last `LIMITS.whyLookMax` offsets. If a delayed event has the id,
 * that is the answer: it is not in the channel yet.
 * @throws UNKNOWN_CHANNEL when there is no such channel
 */
export async function eventWithId(engine: Engine, channel: string, id: string): Promise<Found> {
  const [delayed] = await engine.delays.list(channel, { id, limit: 1 })
  const now = engine.clock.now()
  if (delayed !== undefined) {
    const { dueAtMs } = delayed
    const text = `the event is delayed until ${timeText(dueAtMs)} (in ${durationText(Math.max(0, dueAtMs - now))}): no consumer sees it before`
    return missing('delayed', text, { channel, id, dueAtMs })
  }
  const { first, next } = await engine.bounds(channel)
  const lowest = Math.max(first, next - LIMITS.whyLookMax)

  for (let end = next; end > lowest; end -= WINDOW) {
    let found: StoredText | undefined
    for await (const event of storedBetween(engine, channel, Math.max(lowest, end - WINDOW), end))
      if (event.id === id) found = event
    if (found !== undefined) return { event: found }
  }
  const looked = next - lowest
  const text = `none of the newest ${looked} offsets of "${channel}" has an event with id "${id.slice(0, 200)}"${lowest > first ? ': if the event is older, name its offset' : ''}`
  return missing('unknown-id', text, { channel, id, looked, all: lowest === first })
}

const WINDOW = 2000

function missing(because: Reason['because'], text: string, facts: Reason['facts']): Found {
  return { event: null, reason: reason(because, text, facts) }
}
