/**
 * The blocks that a cursor reads: the current one, those that were read ahead of it, and single blocks that are read
 * again for events that waited.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { DeliveryLog, EventBlock } from '../delivery-log.ts'

export interface BlockReaderHost {
  /** The block that `next` was asked for is in memory. */
  onRead(): void
  failed(error: unknown): void
}

function holds(block: EventBlock, offset: number): boolean {
  return offset >= block.firstOffset && offset < block.firstOffset + block.count
}

/** The log lacks events that retention has not removed. They are not skipped in silence. */
function missing(log: DeliveryLog, offset: number, found: number | undefined): MillraceError {
  const message = `channel "${log.name}" has no event at offset ${offset}${found === undefined ? '' : `; the next one is at ${found}`}: its consumers stop there`
  return new MillraceError('DATA_DAMAGED', message, { channel: log.name, offset })
}

export class BlockReader {
  readonly #log: DeliveryLog
  readonly #host: BlockReaderHost
  #current: EventBlock | null = null
  #ahead: EventBlock[] = []
  #loading = false
  /** The number of resets: the result of a read that began before the last reset is dropped. */
  #epoch = 0

  constructor(log: DeliveryLog, host: BlockReaderHost) {
    this.#log = log
    this.#host = host
  }

  /** A block was committed. If the cursor is at the end of the log, no look-up is needed for it. */
  offer(block: EventBlock, offset: number): void {
    if (this.#ahead.length === 0 && block.firstOffset === offset) this.#current = block
  }

  reset(): void {
    this.#current = null
    this.#ahead = []
    this.#loading = false
    this.#epoch++
  }

  /** The block of the next offset. Returns null while it is being read; `onRead` is called when it is there. */
  next(offset: number): EventBlock | null {
    if (this.#current !== null && holds(this.#current, offset)) return this.#current
    this.#current = this.#log.blockInMemory(offset) ?? null
    while (this.#current === null && this.#ahead.length > 0) {
      const block = this.#ahead.shift() as EventBlock
      if (holds(block, offset)) this.#current = block
    }
    if (this.#current === null) this.#load(offset)
    else if (this.#ahead.length === 0) this.#load(this.#current.firstOffset + this.#current.count)
    return this.#current
  }

  #load(offset: number): void {
    if (this.#loading || offset >= this.#log.committed || this.#log.blockInMemory(offset) !== undefined) return
    this.#loading = true
    const epoch = this.#epoch
    this.#log.load(offset, LIMITS.readAheadBytes).then(
      (blocks) => {
        if (epoch !== this.#epoch) return
        this.#loading = false
        const first = blocks[0]
        if (first === undefined || first.firstOffset > Math.max(offset, this.#log.first)) {
          this.#host.failed(missing(this.#log, offset, first?.firstOffset))
          return
        }
        this.#ahead.push(...blocks)
        this.#host.onRead()
      },
      (error: unknown) => {
        if (epoch !== this.#epoch) return
        this.#loading = false
        this.#host.failed(error)
      },
    )
  }

  /** The block of an offset that the cursor has passed, if it is in memory. */
  inMemory(offset: number): EventBlock | undefined {
    return this.#current !== null && holds(this.#current, offset) ? this.#current : this.#log.blockInMemory(offset)
  }

  /**
   * Read the block of an offset that the cursor has passed. The block stays in memory for a while.
   *
   * @throws DATA_DAMAGED where the log lacks the event and retention has not removed it
   */
  async readAgain(offset: number): Promise<void> {
    const block = await this.#log.cache(offset)
    if (offset >= this.#log.first && (block === undefined || !holds(block, offset)))
      throw missing(this.#log, offset, block?.firstOffset)
  }

  /**
   * The block of an offset that the cursor has passed. Returns undefined while it is read; then `onFound` is called.
   */
  find(offset: number, onFound: () => void): EventBlock | undefined {
    const block = this.inMemory(offset)
    if (block === undefined) this.readAgain(offset).then(onFound, (error: unknown) => this.#host.failed(error))
    return block
  }
}
