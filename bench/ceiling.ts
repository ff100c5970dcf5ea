/**
 * The bare ceiling: an append-only file that grows. Events are stringified; the texts that gather during one commit are
 * written with the next (asynchronous write, then fdatasync); there is one promise per publish, and one call of an
 * async handler per event. There is no envelope, id, validation, key, consumer state or retry: the rest is what any
 * durable loop must do.
 *
 * It is tuned as a competitor would tune it: texts are concatenated as they arrive and encoded once per commit; a
 * commit starts when all promises of the last one have run (`nextTick`); handlers run while the next commit is written.
 * Variants show the cost of each part.
 */
import { close, fdatasync, openSync, write, writeSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type BareEvent, bareEvent, type CartItem } from './events.ts'
import type { Consuming, ItemHandler, OpenSystem, Setting, System } from './system.ts'

interface Variant {
  /** The handler gets the result of `JSON.parse`; otherwise the published object. */
  readonly parse: boolean
  /** Bytes written to the file in advance, so that a sync need not record a new size. */
  readonly preallocate: number
  /** Write on this thread and sync on another: one thread switch less per commit. */
  readonly writeHere: boolean
}

const BUFFER_BYTES = 4 * 1024 * 1024

class BareLog implements System {
  readonly #fd: number
  readonly #variant: Variant
  readonly #handlers: ItemHandler[] = []
  #buffer: Buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  #position = 0
  #text = ''
  #texts: string[] = []
  #events: BareEvent[] = []
  #waiting: (() => void)[] = []
  #busy = false
  #scheduled = false
  /** Committed and not yet given to handlers. */
  #ready: { readonly texts: readonly string[]; readonly events: readonly BareEvent[] }[] = []

  constructor(directory: string, variant: Variant) {
    this.#fd = openSync(join(directory, 'log'), 'w')
    this.#variant = variant
    const zeros = Buffer.alloc(BUFFER_BYTES)
    for (let at = 0; at < variant.preallocate; at += BUFFER_BYTES) writeSync(this.#fd, zeros, 0, BUFFER_BYTES, at)
  }

  publish(item: CartItem): Promise<void> {
    const event = bareEvent(item)
    const text = JSON.stringify(event)
    this.#text += `${text}\n`
    if (this.#handlers.length > 0) {
      if (this.#variant.parse) this.#texts.push(text)
      else this.#events.push(event)
    }
    if (!this.#busy && !this.#scheduled) this.#schedule()
    return new Promise((resolve) => {
      this.#waiting.push(resolve)
    })
  }

  #schedule(): void {
    this.#scheduled = true
    process.nextTick(this.#turn)
  }

  readonly #turn = (): void => {
    this.#scheduled = false
    if (!this.#busy && this.#waiting.length > 0) this.#commit()
    const ready = this.#ready
    if (ready.length === 0) return
    this.#ready = []
    for (const { texts, events } of ready) {
      for (const handler of this.#handlers) {
        if (this.#variant.parse) for (const text of texts) void handler((JSON.parse(text) as BareEvent).data)
        else for (const event of events) void handler(event.data)
      }
    }
  }

  #commit(): void {
    this.#busy = true
    const [text, texts, events, waiting] = [this.#text, this.#texts, this.#events, this.#waiting]
    this.#text = ''
    this.#texts = []
    this.#events = []
    this.#waiting = []
    if (text.length * 3 > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(text.length * 6)
    const bytes = this.#buffer.write(text)
    const synced = (error: Error | null): void => {
      if (error !== null) throw error
      this.#busy = false
      for (const resolve of waiting) resolve()
      if (this.#handlers.length > 0) this.#ready.push({ texts, events })
      this.#schedule()
    }
    const at = this.#position
    this.#position += bytes
    if (this.#variant.writeHere) {
      writeSync(this.#fd, this.#buffer, 0, bytes, at)
      fdatasync(this.#fd, synced)
      return
    }
    write(this.#fd, this.#buffer, 0, bytes, at, (error) => {
      if (error !== null) throw error
      fdatasync(this.#fd, synced)
    })
  }

  consume(_name: string, handler: ItemHandler): Promise<Consuming> {
    this.#handlers.push(handler)
    return Promise.resolve({ settle: () => Promise.resolve() })
  }

  close(): Promise<void> {
    return promisify(close)(this.#fd)
  }
}

function opener(variant: Variant): OpenSystem {
  return ({ directory }: Setting) => Promise.resolve(new BareLog(directory, variant))
}

/** The ceiling that ratios refer to: JSON both ways, a file that grows. */
export const openCeiling: OpenSystem = opener({ parse: true, preallocate: 0, writeHere: false })
/** Handlers get the published object. */
export const openStringifyOnly: OpenSystem = opener({ parse: false, preallocate: 0, writeHere: false })
/** JSON both ways, a file written in advance, the write on this thread: the gain of a better file layout. */
export const openPreallocated: OpenSystem = opener({ parse: true, preallocate: 256 * 1024 * 1024, writeHere: true })
