/**
 * Emissions (clause 12): they are checked while their handler can still be told, and then sent on in order, with their
 * ids, until the backend has them.
 */
import { type Clock, pause } from '../../base/clock.ts'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import type { Emission } from '../../broker/engine.ts'
import { checkSize } from './appending.ts'

const RETRY_MS = 200

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

/** Gives up only when the engine closes. Emissions that no attempt can store are dropped, with an alarm. */
export async function sendOn(emissions: readonly Emission[], host: EmittingHost): Promise<void> {
  for (const run of runs(emissions)) {
    const { channel } = run[0] as Emission
    for (;;) {
      if (host.closed.aborted)
        throw new MillraceError(
          'CLOSED',
          'the broker closed before emissions were published: the next owner of the partition publishes them',
        )
      try {
        await host.store(channel, run)
        break
      } catch (error) {
        host.alarm(error)
        if (isMillraceError(error) && !error.retryable) break
        await pause(host.clock, RETRY_MS)
      }
    }
  }
}
