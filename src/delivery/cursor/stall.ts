/** Clause 17: why a consumer that has work makes no progress, in words for the person on call. */
import type { Clock } from '../../base/clock.ts'
import { ChannelMask } from '../../channel/channel-mask.ts'
import type { RetryRecord } from '../consumer-records.ts'
import type { DeliveryLog } from '../delivery-log.ts'
import type { VersionWaits } from '../dispatch/version-waits.ts'
import type { Held } from '../flow/limit-table.ts'

/** A cursor, as far as a stall can be seen in it. */
export interface WatchedCursor {
  readonly log: Pick<DeliveryLog, 'name' | 'first' | 'committed' | 'spec'>
  readonly progress: { readonly settledAtMs: number }
  readonly state: {
    readonly retries: ReadonlyMap<number, RetryRecord>
    readonly versions: Pick<VersionWaits, 'size' | 'needs' | 'isRefused'>
  }
  readonly box: { readonly full: boolean; readonly blockade: { readonly stands: boolean; readonly size: number } }
  /** The next offset to read. */
  readonly next: number
  /** Events that were read and are not settled. */
  readonly outstanding: number
  /** Events of a queue that no running instance matches. */
  readonly unmatched: number
}

interface WatchedInstance {
  readonly spec: { readonly stallMs: number }
  /** It is paused. */
  readonly idle: boolean
  readonly held: { readonly size: number }
  /** A limit that holds back events. */
  readonly limited: Pick<Held, 'limit' | 'kind'> | null
}

/** The work of a consumer in one log. */
export interface Backlog {
  readonly cursor: WatchedCursor
  /** Events that are not settled. */
  readonly lag: number
}

export function backlogOf(cursor: WatchedCursor): Backlog {
  const { log, next, outstanding } = cursor
  return { cursor, lag: outstanding + Math.max(0, log.committed - Math.max(next, log.first)) }
}

export interface Stall {
  /** When something was settled last, as the wall clock shows that moment now. */
  readonly sinceMs: number
  readonly reason: string
}

/** The first stall among a consumer's logs; null where it makes progress, has nothing to do, or is paused. */
export function stallOf(
  backlogs: readonly Backlog[],
  instances: readonly WatchedInstance[],
  clock: Pick<Clock, 'now' | 'elapsed'>,
): Stall | null {
  if (instances.length === 0 || instances.every((instance) => instance.idle)) return null
  // A rate holds events back for as long as it says, which is no stall.
  if (instances.some(({ limited }) => limited?.kind === 'rate')) return null
  const stallMs = Math.min(...instances.map((instance) => instance.spec.stallMs))
  const stillMs = ({ cursor }: Backlog): number => clock.elapsed() - cursor.progress.settledAtMs
  const stalled = backlogs.find((backlog) => backlog.lag > 0 && stillMs(backlog) >= stallMs)
  return stalled === undefined
    ? null
    : { sinceMs: clock.now() - stillMs(stalled), reason: reasonOf(stalled.cursor, instances) }
}

/** An error may quote its event. A description has many readers, so it does not quote events with sensitive fields. */
function errorText({ failure }: RetryRecord, spec: DeliveryLog['spec']): string {
  return ChannelMask.of(spec) === null ? `"${failure.message}"` : `a ${failure.name}, which may quote sensitive fields`
}

function reasonOf({ box, log, state, unmatched }: WatchedCursor, instances: readonly WatchedInstance[]): string {
  if (box.blockade.stands)
    return `all events wait behind ${box.blockade.size} dead letter(s) in "${log.name}" (onDead: block): redrive or drop them`
  if (unmatched > 0)
    return `no running consumer of "${log.name}" handles ${unmatched} of its events: start one that does`
  const [needed] = state.versions.needs
  if (needed !== undefined)
    return `${state.versions.size} event(s) of "${log.name}" wait for an instance that knows version ${needed.version} of "${needed.type}": deploy it`
  if (box.full) return `more events of "${log.name}" are parked than the limit allows: redrive or drop the dead letters`
  const held = instances.reduce((sum, instance) => sum + instance.held.size, 0)
  if (held > 0) return `${held} handler(s) have been running since then and none has finished`
  const limited = instances.find((instance) => instance.limited !== null)?.limited
  if (limited !== undefined && limited !== null)
    return `limit "${limited.limit}" has no room: other consumers that share it have used it up since then`
  const last = [...state.retries.values()].at(-1)
  if (last !== undefined)
    return `${state.retries.size} event(s) wait for their next attempt: the last error was ${errorText(last, log.spec)}`
  return `events of "${log.name}" are not being delivered`
}
