/**
 * The record of copies, kept at the target in the channel `$copies`. An interrupted copy resumes from it, and a
 * completely copied channel is not touched again.
 */
import type { Engine } from '../broker/engine.ts'
import { type Stream, stream } from '../channel/channel.ts'
import { encodeEvent } from '../event/encode.ts'
import { event } from '../event/event.ts'
import { eventsOf } from './source-events.ts'

export const COPIES = '$copies'

const Began = event('copy.began')
/** One event names all channels of a copy, so that they become complete together. */
const Ended = event('copy.ended')
/** The delayed events are copied too. */
const Scheduled = event('copy.scheduled')

interface Noted {
  readonly from: string
  readonly channels: readonly CopiedChannel[]
}

/** A channel that was copied completely. */
export interface CopiedChannel {
  readonly channel: string
  readonly events: number
  readonly checksum: string
  /** The end of the source's channel. */
  readonly through: number
  /** The end of the target's channel. */
  readonly end: number
}

const copies: Stream = stream(COPIES, { events: [Began, Ended, Scheduled], key: () => 'copy' })

export class CopyLedger {
  readonly #target: Engine
  readonly #from: string
  readonly #began = new Set<string>()
  readonly #ended = new Map<string, CopiedChannel>()
  readonly #scheduled = new Set<string>()

  private constructor(target: Engine, from: string) {
    this.#target = target
    this.#from = from
  }

  static async open(target: Engine, from: string): Promise<CopyLedger> {
    const ledger = new CopyLedger(target, from)
    if ((await target.channel(COPIES)) === undefined) return ledger
    for await (const { type, text } of eventsOf(target, COPIES)) {
      const { channels } = (JSON.parse(text) as { readonly data: Noted }).data
      for (const each of channels) ledger.#take(type, each)
    }
    return ledger
  }

  #take(type: string, copied: CopiedChannel): void {
    if (type === Began.type) {
      this.#ended.delete(copied.channel)
      this.#scheduled.delete(copied.channel)
      this.#began.add(copied.channel)
    } else if (type === Ended.type) this.#ended.set(copied.channel, copied)
    else this.#scheduled.add(copied.channel)
  }

  /** A copy has created the channel. */
  began(channel: string): boolean {
    return this.#began.has(channel)
  }

  ended(channel: string): CopiedChannel | undefined {
    return this.#ended.get(channel)
  }

  scheduled(channel: string): boolean {
    return this.#scheduled.has(channel)
  }

  /** Record the channels before they are created at the target. */
  async begin(names: readonly string[]): Promise<void> {
    await this.#write(
      Began.type,
      names.map((channel) => ({ channel, events: 0, checksum: '', through: 0, end: 0 })),
    )
  }

  /** The channels are complete, and their consumers have their positions. */
  async end(channels: readonly CopiedChannel[]): Promise<void> {
    await this.#write(Ended.type, channels)
  }

  async endScheduled(channels: readonly CopiedChannel[]): Promise<void> {
    await this.#write(Scheduled.type, channels)
  }

  async #write(type: string, channels: readonly CopiedChannel[]): Promise<void> {
    if (channels.length === 0) return
    await this.#target.declare(copies.spec)
    const data: Noted = { from: this.#from, channels }
    const event = encodeEvent({ type, data }, 'copy', '/millrace/copy', copies.spec.eventBytesMax)
    // The record is appended through the carriage (the port for copies): a server refuses `publish` to Millrace's own
    // channels.
    await this.#target.carriage.putEvents(COPIES, [{ ...event, timeMs: this.#target.clock.now() }])
    for (const each of channels) this.#take(type, each)
  }
}
