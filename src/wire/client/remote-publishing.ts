/**
 * Publishing to a server. The events that are published to one channel in one turn of the event loop go out in one
 * frame, up to GROUP_CHARS or GROUP_EVENTS, and are stored together. Each batch and each delayed event has a frame of
 * its own.
 *
 * Every publish is kept here until its answer. If the session is lost before the answer, the publish may already be
 * stored. It is then sent again with the earliest time and offset at which it can have been stored, and the server
 * checks whether it is stored.
 *
 * Memory is bounded by `pendingBytesMax`, counted in characters. Beyond that, publishing is refused with BACKPRESSURE.
 */
import { Condition } from '../../base/condition.ts'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { WorkTimes } from '../../base/work-times.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { PublishLoad } from '../../broker/publish-load.ts'
import type { Receipt } from '../../broker/receipt.ts'
import { decodeReceipts, publishFrame, type Since, sentBefore } from '../publish-frame.ts'
import type { Pending, WireClient } from './wire-client.ts'

/** A frame of single publishes takes no more events when it has more characters of event text, or this many events. */
const GROUP_CHARS = 262_144
const GROUP_EVENTS = 4096

/** `resolve` and `reject` of the newest promise. A shared executor function avoids one closure per event. */
const taken: { resolve: (answer: Receipt) => void; reject: (error: Error) => void } = {
  resolve: () => undefined,
  reject: () => undefined,
}
function take(resolve: (answer: Receipt) => void, reject: (error: Error) => void): void {
  taken.resolve = resolve
  taken.reject = reject
}

/** The content of one frame: single publishes together, or one batch. */
class PublishGroup implements Pending {
  readonly patient = true
  readonly channel: string
  readonly dueAtMs: number | null
  /** The events until they are encoded in the frame; their ids are kept until the answer. */
  events: EncodedEvent[] = []
  ids: readonly string[] = []
  /** The callbacks of each event. They are empty for a batch, which has the one callback `batch`. */
  readonly resolves: ((receipt: Receipt) => void)[] = []
  readonly rejects: ((error: Error) => void)[] = []
  batch: ((receipts: Receipt[]) => void) | null = null
  chars = 0
  /**
   * The earliest time and offset at which the server can have stored it; null until it is first given to a connection.
   */
  since: Since | null = null
  /** When it was given to the client. */
  begunMs = 0
  readonly #publishing: RemotePublishing
  #request = 0
  #frame: Buffer | null = null

  constructor(publishing: RemotePublishing, channel: string, dueAtMs: number | null) {
    this.#publishing = publishing
    this.channel = channel
    this.dueAtMs = dueAtMs
  }

  make(request: number): void {
    this.#request = request
    this.#frame = publishFrame(request, this.channel, this.events, this.dueAtMs, this.batch !== null)
    this.ids = this.events.map(({ id }) => id)
    this.events = []
  }

  get bytes(): number {
    return this.#frame?.length ?? 0
  }

  frame(again: boolean): Buffer {
    const frame = this.#frame as Buffer
    if (!again) return frame
    if (this.since !== null) sentBefore(frame, this.since)
    else this.since = this.#publishing.since(this.channel)
    return frame
  }

  answered(body: Buffer): void {
    const receipts = decodeReceipts(body, this.channel, this.ids)
    this.#publishing.settled(this)
    const last = receipts.at(-1)
    if (last !== undefined && 'offset' in last && last.offset !== null)
      this.#publishing.seen(this.channel, last.offset + 1)
    if (this.batch !== null) this.batch(receipts as Receipt[])
    else
      for (let index = 0; index < receipts.length; index++)
        this.#settle(index, receipts[index] as Receipt | MillraceError)
  }

  #settle(index: number, answer: Receipt | MillraceError): void {
    if ('offset' in answer) this.resolves[index]?.(answer)
    else this.rejects[index]?.(answer)
  }

  failed(error: MillraceError): void {
    this.#publishing.settled(this)
    if (error.code === 'UNKNOWN_CHANNEL') this.#publishing.forget(this.channel)
    for (const reject of this.rejects) reject(error)
  }

  get request(): number {
    return this.#request
  }
}

export class RemotePublishing {
  readonly #client: WireClient
  /** The groups of this turn, in order. `#open` has those that may still grow. */
  #groups: PublishGroup[] = []
  readonly #open = new Map<string, PublishGroup>()
  /** Groups given to the client and not answered. */
  readonly #unanswered = new Set<PublishGroup>()
  /** The highest known end offset of each channel. */
  readonly #ends = new Map<string, number>()
  #chars = 0
  readonly #times = new WorkTimes()
  readonly #idle = new Condition(() => this.#groups.length === 0 && this.#unanswered.size === 0)

  constructor(client: WireClient) {
    this.#client = client
  }

  /** What publishing waits for: the answers of the server. */
  get load(): PublishLoad {
    const { underWayMs, meanMs } = this.#times
    return {
      ...{ storedBy: 'server', waitingBytes: this.#chars, waitingBytesMax: LIMITS.pendingBytesMax },
      ...{ underWayMs, takesMs: meanMs, journalFull: false },
    }
  }

  /** Characters of the events that wait for an answer. */
  get chars(): number {
    return this.#chars
  }

  /** Whether events wait to be encoded into frames. */
  get gathered(): boolean {
    return this.#groups.length > 0
  }

  /** Resolves when every publish is answered. */
  answered(): Promise<void> {
    return this.#idle.reached()
  }

  publish(channel: string, event: EncodedEvent, dueAtMs: number | null): Promise<Receipt> {
    if (this.#chars > LIMITS.pendingBytesMax) return Promise.reject(this.#tooMuch())
    let group = dueAtMs === null ? this.#open.get(channel) : undefined
    if (group === undefined) {
      group = this.#begin(channel, dueAtMs)
      if (dueAtMs === null) this.#open.set(channel, group)
    }
    const answered = new Promise<Receipt>(take)
    group.events.push(event)
    group.resolves.push(taken.resolve)
    group.rejects.push(taken.reject)
    this.#count(group, event.text.length)
    if (group.chars > GROUP_CHARS || group.events.length >= GROUP_EVENTS) this.#open.delete(channel)
    return answered
  }

  publishBatch(channel: string, events: readonly EncodedEvent[], dueAtMs: number | null): Promise<Receipt[]> {
    if (this.#chars > LIMITS.pendingBytesMax) return Promise.reject(this.#tooMuch())
    return new Promise((resolve, reject) => {
      this.#open.delete(channel)
      const group = this.#begin(channel, dueAtMs)
      group.events.push(...events)
      group.batch = resolve
      group.rejects.push(reject)
      let chars = 0
      for (const { text } of events) chars += text.length
      this.#count(group, chars)
    })
  }

  #begin(channel: string, dueAtMs: number | null): PublishGroup {
    const group = new PublishGroup(this, channel, dueAtMs)
    if (this.#groups.push(group) === 1) this.#client.link.soon()
    return group
  }

  #count(group: PublishGroup, chars: number): void {
    group.chars += chars
    this.#chars += chars
  }

  /** Encode what was published into frames. */
  collect(): void {
    if (this.#groups.length === 0) return
    const groups = this.#groups
    this.#groups = []
    this.#open.clear()
    for (const group of groups) {
      const request = this.#client.number()
      this.#unanswered.add(group)
      group.begunMs = this.#times.begin()
      group.make(request)
      if (group.bytes > LIMITS.wireFrameBytesMax) group.failed(tooLarge(group.bytes))
      else {
        if (this.#client.connected) group.since = this.since(group.channel)
        this.#client.request(request, group)
      }
    }
  }

  /** A connection exists (again): groups that were never given to a connection are given to this one. */
  connected(): void {
    for (const group of this.#unanswered) group.since ??= this.since(group.channel)
  }

  since(channel: string): Since {
    return { timeMs: this.#client.toldMs, offset: this.#ends.get(channel) ?? 0 }
  }

  /** Record that a channel has reached an offset. */
  seen(channel: string, end: number): void {
    if (end > (this.#ends.get(channel) ?? 0)) this.#ends.set(channel, end)
  }

  /** The channel was removed. A new channel of the same name starts at offset 0. */
  forget(channel: string): void {
    this.#ends.delete(channel)
  }

  settled(group: PublishGroup): void {
    if (this.#unanswered.delete(group)) this.#times.end(group.begunMs)
    this.#chars -= group.chars
    this.#idle.check()
  }

  /** Fail what is not yet given to the client. */
  fail(error: MillraceError): void {
    for (const group of this.#groups.splice(0)) group.failed(error)
    this.#open.clear()
  }

  #tooMuch(): MillraceError {
    return new MillraceError(
      'BACKPRESSURE',
      `${this.#chars} characters of events wait for the server's answer, more than the ${LIMITS.pendingBytesMax} allowed: await earlier publishes before making more`,
      { pendingBytes: this.#chars, pendingBytesMax: LIMITS.pendingBytesMax },
    )
  }
}

function tooLarge(bytes: number): MillraceError {
  return new MillraceError(
    'EVENT_TOO_LARGE',
    `the batch takes ${bytes} bytes on the wire, more than the ${LIMITS.wireFrameBytesMax} allowed: publish several`,
    {
      bytes,
      bytesMax: LIMITS.wireFrameBytesMax,
    },
  )
}
