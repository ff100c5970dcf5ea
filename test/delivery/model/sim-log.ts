/**
 * A simulated log: blocks leave memory, reads take as long as the history says, and retention and compaction remove
 * events.
 */
import type { DeliveryLog, EventBlock, LogListener } from '../../../src/delivery/delivery-log.ts'
import { type BlockEvent, HOLE } from '../../../src/event/block.ts'
import type { ModelLog } from './account.ts'

export interface ChannelSetup {
  readonly name: string
  readonly kind: 'stream' | 'queue'
  readonly latestByKey: boolean
  /** The channel has other keys than those by which its consumers order: these are in the texts of its events. */
  readonly otherKeys?: boolean
}

/** The key in the text of an event: consumers with a key of their own order by it. */
export function keyInText({ text }: Pick<BlockEvent, 'text'>): string | null {
  return (JSON.parse(text) as { readonly key?: string | null }).key ?? null
}

/** How many blocks a look-up keeps in memory, at most. */
const CACHED_BLOCKS = 2

export class SimBlock implements EventBlock {
  readonly firstOffset: number
  readonly timeMs: number
  readonly events: (BlockEvent | null)[]
  readonly #otherKeys: boolean

  constructor(firstOffset: number, timeMs: number, events: (BlockEvent | null)[], otherKeys = false) {
    this.#otherKeys = otherKeys
    this.firstOffset = firstOffset
    this.timeMs = timeMs
    this.events = events
  }

  get count(): number {
    return this.events.length
  }

  get end(): number {
    return this.firstOffset + this.events.length
  }

  at(index: number): BlockEvent {
    const event = this.events[index] ?? HOLE
    return this.#otherKeys && event !== HOLE ? { ...event, key: event.id.endsWith('3') ? null : event.id } : event
  }

  typeAt(index: number): string {
    return this.at(index).type
  }

  timeAt(): number {
    return this.timeMs
  }

  holes(index: number): number {
    let count = 0
    while (index + count < this.events.length && this.events[index + count] === null) count++
    return count
  }
}

export class SimLog implements DeliveryLog, ModelLog {
  readonly id: number
  readonly name: string
  readonly spec: { readonly kind: 'stream' | 'queue' }
  readonly listeners: Set<LogListener> = new Set()
  first = 0
  committed = 0
  blocks: SimBlock[] = []
  readonly #latestByKey: boolean
  readonly #otherKeys: boolean
  readonly #latest = new Map<string, number>()
  #memory: SimBlock[] = []
  /** Reads under way. Calling one answers it. */
  reads: (() => void)[] = []

  constructor(id: number, { name, kind, latestByKey, otherKeys = false }: ChannelSetup) {
    this.#otherKeys = otherKeys
    this.id = id
    this.name = name
    this.spec = { kind }
    this.#latestByKey = latestByKey
  }

  append(events: (BlockEvent | null)[], timeMs: number): void {
    const block = new SimBlock(this.committed, timeMs, events, this.#otherKeys)
    this.blocks.push(block)
    this.#memory.push(block)
    for (const [index, event] of events.entries())
      if (event !== null && event.key !== null) this.#latest.set(event.key, block.firstOffset + index)
    this.committed = block.end
    for (const listener of [...this.listeners]) listener.onCommitted(block)
  }

  /** Remove all blocks from memory. */
  evict(): void {
    this.#memory = []
  }

  /** A crash: forget the listeners and the reads under way. */
  forget(): void {
    this.listeners.clear()
    this.reads = []
    this.evict()
  }

  retain(first: number): void {
    this.first = Math.max(this.first, first)
    this.blocks = this.blocks.filter((block) => block.end > this.first)
    this.#memory = this.#memory.filter((block) => block.end > this.first)
  }

  /** Compaction: remove events that a later event of their key has replaced. */
  compact(): void {
    this.blocks = this.blocks.map(
      (block) =>
        new SimBlock(
          block.firstOffset,
          block.timeMs,
          block.events.map((event, index) =>
            event !== null && this.superseded(event.key, block.firstOffset + index) ? null : event,
          ),
          this.#otherKeys,
        ),
    )
    this.evict()
  }

  *events(): Generator<readonly [offset: number, event: BlockEvent, timeMs: number]> {
    for (const { events, firstOffset, timeMs } of this.blocks) {
      for (const [index, event] of events.entries()) if (event !== null) yield [firstOffset + index, event, timeMs]
    }
  }

  holds(): boolean {
    return true
  }

  superseded(key: string | null, offset: number): boolean {
    return this.#latestByKey && key !== null && (this.#latest.get(key) ?? -1) > offset
  }

  find(offset: number): SimBlock | undefined {
    return this.blocks.find((block) => offset >= block.firstOffset && offset < block.end)
  }

  blockInMemory(offset: number): EventBlock | undefined {
    return this.#memory.find((block) => offset >= block.firstOffset && offset < block.end)
  }

  load(offset: number, maxBytes: number): Promise<EventBlock[]> {
    return this.#read(() => this.blocks.filter((block) => block.end > offset).slice(0, maxBytes === 1 ? 1 : 2))
  }

  async cache(offset: number): Promise<EventBlock | undefined> {
    const [block] = await this.#read(() => {
      const found = this.blocks.filter((each) => each.end > offset).slice(0, 1)
      this.#memory = [...found, ...this.#memory.filter((each) => !found.includes(each))].slice(0, CACHED_BLOCKS)
      return found
    })
    return block
  }

  #read(look: () => SimBlock[]): Promise<SimBlock[]> {
    return new Promise((resolve) => {
      this.reads.push(() => resolve(look()))
    })
  }
}
