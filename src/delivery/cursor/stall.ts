/** Why a consumer that has work makes no progress, in words for the person on call: clause 17. */
import type { Clock } from '../../base/clock.ts'
import type { Instance } from '../dispatch/instance.ts'
import type { Cursor } from './cursor.ts'

/** What a consumer does in one log, and how many events of it are not settled. */
export interface Progress {
  readonly cursor: Cursor
  readonly lag: number
}

export function progressOf(cursor: Cursor): Progress {
  const { log } = cursor
  return { cursor, lag: cursor.outstanding + Math.max(0, log.committed - Math.max(cursor.taken, log.first)) }
}

export interface Stall {
  /** The wall clock's time, as it is now, of the moment in which something was settled last. */
  readonly sinceMs: number
  readonly reason: string
}

export function stallOf(
  its: readonly Progress[],
  instances: readonly Instance[],
  clock: Pick<Clock, 'now' | 'elapsed'>,
): Stall | null {
  if (instances.length === 0 || instances.every((instance) => instance.idle)) return null
  const stallMs = Math.min(...instances.map((instance) => instance.spec.stallMs))
  const stillMs = ({ cursor }: Progress): number => clock.elapsed() - cursor.progress.atMs
  const still = its.find((each) => each.lag > 0 && stillMs(each) >= stallMs)
  return still === undefined
    ? null
    : { sinceMs: clock.now() - stillMs(still), reason: reasonOf(still.cursor, instances) }
}

function reasonOf(cursor: Cursor, instances: readonly Instance[]): string {
  const { box, homeless, log, state } = cursor
  if (box.blockade.stands)
    return `all events wait behind ${box.blockade.size} dead letter(s) in "${log.name}" (onDead: block): redrive or drop them`
  if (homeless.length > 0)
    return `no running consumer of "${log.name}" handles ${homeless.length} of its events: start one that does`
  if (box.full) return `more events of "${log.name}" are parked than the limit allows: redrive or drop the dead letters`
  const held = instances.reduce((sum, instance) => sum + instance.held.size, 0)
  if (held > 0) return `${held} handler(s) have been running since then and none has finished`
  const last = [...state.retries.values()].at(-1)
  if (last !== undefined)
    return `${state.retries.size} event(s) wait for their next attempt: the last error was "${last.failure.message}"`
  return `events of "${log.name}" are not being delivered`
}
