/**
 * Emissions (clause 12): they are checked while their handler can still be told, and then sent on in order, with their
 * ids, until the backend has them.
 */
import { type Clock, pause } from '../../base/clock.ts'
import { type ErrorCode, isMillraceError, MillraceError } from '../../base/errors.ts'
import type { Emission } from '../../broker/engine.ts'
import { checkSize } from './appending.ts'

const RETRY_MS = 200

/** Errors of one event, or of a channel that is gone: no attempt can store the event. All others are of the servers. */
const UNSTORABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'INVALID_EVENT',
  'INVALID_NAME',
  'INVALID_OPTION',
  'EVENT_TOO_LARGE',
  'TYPE_NOT_CARRIED',
  'SCHEMA_MISMATCH',
  'UNKNOWN_CHANNEL',
  'CHANNEL_CONFLICT',
])

export interface EmittingHost {
  readonly closed: AbortSignal
  readonly clock: Clock
  /** Store events in order. Those whose ids are known are not stored again. */
  store(channel: string, emissions: readonly Emission[]): Promise<void>
  alarm(error: unknown): void
}

/**
 * Checks the emissions of a delivery before it is settled.
 * @throws EVENT_TOO_LARGE · and what `known` throws for a channel
 */
export function checkEmissions(
  emissions: readonly Emission[],
  known: (channel: string) => unknown,
  bytesMax: number,
): void {
  for (const { channel, event } of emissions) {
    known(channel)
    checkSize(event, channel, bytesMax)
  }
}

/** Consecutive emissions to one channel, together. */
function runs(emissions: readonly Emission[]): Emission[][] {
  const found: Emission[][] = []
  for (const emission of emissions) {
    const last = found.at(-1)
    if (last?.[0]?.channel === emission.channel) last.push(emission)
    else found.push([emission])
  }
  return found
}

/**
 * Gives up only when the engine closes. An emission that no attempt can store is dropped with an alarm, by itself:
 * those that were sent together with it are sent again without it. An error of the servers drops nothing.
 */
export async function sendOn(emissions: readonly Emission[], host: EmittingHost): Promise<void> {
  for (const run of runs(emissions)) {
    if (await isSent(run, host)) continue
    if (run.length > 1) for (const emission of run) await isSent([emission], host)
  }
}

/** False when an event of the run cannot be stored, and then perhaps none is. */
async function isSent(run: readonly Emission[], host: EmittingHost): Promise<boolean> {
  const { channel } = run[0] as Emission
  for (;;) {
    if (host.closed.aborted)
      throw new MillraceError(
        'CLOSED',
        'the broker closed before emissions were published: the next owner of the partition publishes them',
      )
    try {
      await host.store(channel, run)
      return true
    } catch (error) {
      host.alarm(error)
      if (isMillraceError(error) && UNSTORABLE.has(error.code)) return false
      await pause(host.clock, RETRY_MS)
    }
  }
}
