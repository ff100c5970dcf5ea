/** Reading a channel without consuming it (clause 9), over all of its partitions; and the offsets of positions. */
import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { EngineReadOptions, StoredText } from '../../broker/engine.ts'
import type { Position } from '../../broker/position.ts'
import { offsetOutOfRange } from '../../channel/channel-errors.ts'
import type { LogBackend } from '../log-backend.ts'

const READ = { count: 500, bytes: LIMITS.readAheadBytes }
const FOLLOW_MS = 1000

/** The offset of a position in a partition, or (null) in the whole channel. @throws OFFSET_OUT_OF_RANGE */
export async function positionIn(
  backend: LogBackend,
  channel: string,
  partition: number | null,
  position: Position,
): Promise<number> {
  if ('timeMs' in position) return backend.seek(channel, partition, position.timeMs)
  const { first, next } = await backend.bounds(channel, partition)
  if ('at' in position) return position.at === 'beginning' ? first : next
  const { offset } = position
  const whole = partition === null ? next : (await backend.bounds(channel, null)).next
  if (Number.isInteger(offset) && offset >= 0 && offset <= whole) return Math.max(first, offset)
  throw offsetOutOfRange(channel, offset, first, whole)
}

export async function* readChannel(
  backend: LogBackend,
  channel: string,
  { from, to, follow, signal }: EngineReadOptions,
  removed: () => boolean,
): AsyncGenerator<readonly StoredText[]> {
  let offset = await positionIn(backend, channel, null, from)
  const until =
    to !== null
      ? await positionIn(backend, channel, null, to)
      : follow
        ? Number.POSITIVE_INFINITY
        : (await backend.bounds(channel, null)).next
  const appended = new Signal()
  const stop = follow ? await backend.watch(channel, () => appended.ring()) : () => undefined
  try {
    while (offset < until && !signal.aborted && !removed()) {
      const records = await backend
        .read(channel, null, offset, READ)
        .catch((error: unknown) => goneMeanwhile(error, follow))
      if (records === null) return
      const events = records.filter((record) => record.offset < until && record.event.type !== '')
      if (events.length > 0) yield events.map(({ offset: at, timeMs, event }) => ({ ...event, offset: at, timeMs }))
      const last = records.at(-1)
      if (last !== undefined) offset = last.offset + 1
      else if (follow) await appended.wait(signal)
      else return
    }
  } finally {
    stop()
  }
}

/** A read that follows ends when its channel is removed. This process may learn of it only from the servers. */
function goneMeanwhile(error: unknown, follow: boolean): null {
  if (follow && isMillraceError(error, 'UNKNOWN_CHANNEL')) return null
  throw error
}

/** Remembers that something happened until a call of `wait` learns it. */
class Signal {
  #rung = false
  #wake: (() => void) | null = null

  ring(): void {
    this.#rung = true
    this.#wake?.()
  }

  /** Resolves when it rings, has rung since the last wait, a second has passed, or the signal aborts. */
  async wait(signal: AbortSignal): Promise<void> {
    if (!this.#rung && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, FOLLOW_MS)
        const finish = done
        function done(): void {
          clearTimeout(timer)
          signal.removeEventListener('abort', finish)
          resolve()
        }
        this.#wake = done
        signal.addEventListener('abort', finish)
      })
    }
    this.#rung = false
    this.#wake = null
  }
}
