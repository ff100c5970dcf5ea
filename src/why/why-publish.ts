/** Why publishing to a channel is slow, or is refused: which bound it has reached. The first reason decides. */
import type { Engine } from '../broker/engine.ts'
import type { PublishLoad } from '../broker/publish-load.ts'
import { durationText, type Reason, reason } from './reason.ts'
import { storeReasons } from './store-reasons.ts'

export interface PublishWhy {
  readonly channel: string
  readonly reasons: readonly Reason[]
  readonly notKnown: readonly string[]
}

/** A commit or an answer that takes longer makes publishing slow, whatever else there is. */
const SLOW_MS = { disk: 20, memory: 20, server: 50, servers: 50 } as const
const HANGS_MS = 1000
const MIB = 1024 * 1024

/** @throws UNKNOWN_CHANNEL when there is no such channel */
export async function whyPublish(engine: Engine, channel: string): Promise<PublishWhy> {
  const loads = await engine.publishLoad(channel)
  const store = await storeReasons(engine)
  const slow = [...store, ...loads.flatMap(boundsOf)]
  const isElsewhere = loads.some(({ storedBy }) => storedBy === 'servers')
  return {
    channel,
    reasons: slow.length > 0 ? slow : [notSlow(loads)],
    notKnown: isElsewhere ? ['what other processes wait for that publish to the same servers: ask one of them'] : [],
  }
}

function boundsOf(load: PublishLoad): Reason[] {
  const { storedBy, waitingBytes, waitingBytesMax, underWayMs, takesMs, journalFull } = load
  const facts = { ...load }
  const reasons: Reason[] = []
  const isRemote = storedBy === 'server' || storedBy === 'servers'
  const waits = `${(waitingBytes / MIB).toFixed(1)} MiB of events wait ${isRemote ? 'for the server' : 'for their commit'}`
  if (waitingBytes > waitingBytesMax)
    reasons.push(
      reason(
        'credit',
        `${waits}, which is the limit: more publishes are refused with BACKPRESSURE. Await earlier publishes before making more`,
        facts,
      ),
    )
  if (journalFull)
    reasons.push(
      reason(
        'journal',
        'the journal is full: commits wait until it is written to the segments. The disk is too slow for this rate',
        facts,
      ),
    )
  const hangs = underWayMs !== null && underWayMs > HANGS_MS
  const isSlow = takesMs !== null && takesMs > SLOW_MS[storedBy]
  if (!hangs && !isSlow) return reasons
  const [one, what] = isRemote
    ? (['a request to the server', 'the answer of the server'] as const)
    : (['a commit', 'the write and the sync of a commit'] as const)
  const times = hangs
    ? `${one} is under way for ${durationText(underWayMs)}`
    : `${one} takes ${durationText(takesMs ?? 0)}`
  const text = `${times}, and each publish waits for ${what}. ${waits}`
  return [...reasons, reason(isRemote ? 'answer' : 'commit', text, facts)]
}

/** What a publish takes when nothing holds it back. */
function notSlow(loads: readonly PublishLoad[]): Reason {
  const takesMs = loads.find((load) => load.takesMs !== null)?.takesMs ?? null
  const last = loads.at(-1)
  const facts = { takesMs, waitingBytes: last?.waitingBytes ?? 0 }
  if (takesMs === null)
    return reason('not-slow', 'nothing was published here in the last minute, and nothing waits', facts)
  const each = takesMs < 1 ? `${takesMs.toFixed(2)} ms` : durationText(takesMs)
  const most = Math.max(1, Math.floor(1000 / Math.max(takesMs, 0.01)))
  const text =
    `no bound is reached: storing takes ${each}. Publishes that are awaited one after the other are at most ` +
    `${most} a second: give several events to one publish, or do not await each`
  return reason('not-slow', text, facts)
}
