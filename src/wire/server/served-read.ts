/** A read of a session, at the server. Batches are sent while the reader has room. */
import { LIMITS } from '../../base/limits.ts'
import type { Engine, EngineReadOptions, StoredText } from '../../broker/engine.ts'
import { type MaySee, readSeen } from '../../broker/seen-events.ts'
import { eventsFrame } from '../event-columns.ts'
import { FRAME, FRAME_HEADER_BYTES } from '../frame.ts'
import type { Link } from '../link.ts'

/** Approximate characters of event text in one frame. */
const FRAME_CHARS = 262_144

export class ServedRead {
  readonly #request: number
  readonly #link: Link
  readonly #stopped = new AbortController()
  #room: number = LIMITS.wireReadBytes
  #roomMade: (() => void) | null = null

  constructor(request: number, link: Link) {
    this.#request = request
    this.#link = link
  }

  /** Rejects with the error of the engine's read. */
  async run(
    engine: Engine,
    channel: string,
    options: Omit<EngineReadOptions, 'signal'>,
    maySee: MaySee,
  ): Promise<void> {
    const { signal } = this.#stopped
    for await (const batch of readSeen(engine, channel, { ...options, signal }, maySee)) {
      for (const events of pieces(batch)) {
        while (this.#room <= 0 && !signal.aborted) {
          await new Promise<void>((resolve) => {
            this.#roomMade = resolve
          })
        }
        if (signal.aborted) return
        const frame = eventsFrame(FRAME.events, 4, channel, events)
        frame.writeUInt32LE(this.#request, FRAME_HEADER_BYTES)
        this.#room -= frame.length
        this.#link.send(frame)
      }
    }
  }

  more(bytes: number): void {
    // The room is limited, because a client that grants too much would make this process buffer the whole channel.
    this.#room = Math.min(LIMITS.wireReadBytes, this.#room + bytes)
    if (this.#room > 0) this.#wake()
  }

  stop(): void {
    this.#stopped.abort()
    this.#wake()
  }

  #wake(): void {
    this.#roomMade?.()
    this.#roomMade = null
  }
}

function* pieces(batch: readonly StoredText[]): Generator<readonly StoredText[]> {
  let from = 0
  let chars = 0
  for (let at = 0; at < batch.length; at++) {
    chars += (batch[at] as StoredText).text.length
    if (chars < FRAME_CHARS && at + 1 < batch.length) continue
    yield from === 0 && at + 1 === batch.length ? batch : batch.slice(from, at + 1)
    from = at + 1
    chars = 0
  }
}
