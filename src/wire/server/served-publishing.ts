/**
 * Publishing of a session, at the server.
 *
 * A publish that was sent before in a lost session (for example because the server restarted) may be stored already:
 * - Within the channel's window, its ids are known.
 * - Beyond the window, the channel is read from the time of the first sending.
 * - If neither can tell, because the window has passed and retention or a queue's workers have removed events since,
 *   the publish is refused as unknown. It could otherwise be stored twice.
 */

import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { isStateChannel } from '../../base/names.ts'
import { boundsIn } from '../../broker/bounds.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Engine, PublishWaiter } from '../../broker/engine.ts'
import type { Receipt } from '../../broker/receipt.ts'
import { refuseStateChannel } from '../../channel/state-channel.ts'
import { eventsIn } from '../../event/event-in-block.ts'
import { type Access, type WireError, wireErrorOf } from '../access.ts'
import { FRAME, numberedFrame } from '../frame.ts'
import type { Link } from '../link.ts'
import {
  decodePublish,
  type Publish,
  type PublishOutcome,
  plainReceiptsFrame,
  receiptsFrame,
  type Since,
} from '../publish-frame.ts'
import type { DeclaredChannels } from './declared-channels.ts'

interface Given extends Publish {
  readonly events: readonly EncodedEvent[]
}

/** The events of a frame that may be stored, and the errors of the others, by their index in the frame. */
interface Judged {
  readonly events: readonly EncodedEvent[]
  readonly refused: ReadonlyMap<number, WireError>
}

const NONE_REFUSED: ReadonlyMap<number, WireError> = new Map()

export class ServedPublishing {
  readonly #engine: Engine
  readonly #access: () => Access
  readonly #link: Link
  /** Called with true when too many bytes wait for their commit, and with false when there is room again. */
  readonly #crowded: (crowded: boolean) => void
  readonly #channels: DeclaredChannels
  #bytes = 0
  #isCrowded = false
  /** While a publish is being looked up, later ones wait for it, so that the order is kept. */
  #behind: Promise<void> | null = null

  constructor(
    engine: Engine,
    channels: DeclaredChannels,
    access: () => Access,
    link: Link,
    crowded: (crowded: boolean) => void,
  ) {
    this.#engine = engine
    this.#channels = channels
    this.#access = access
    this.#link = link
    this.#crowded = crowded
  }

  /** @throws INVALID_REQUEST · DATA_DAMAGED */
  take(body: Buffer): void {
    const publish = decodePublish(body)
    const { request, block } = publish
    this.#bytes += body.length
    if (this.#bytes > LIMITS.wirePublishBytesMax) this.#crowd(true)
    const done = (frame: Buffer): void => {
      this.#link.send(frame)
      this.#bytes -= body.length
      if (this.#isCrowded && this.#bytes < LIMITS.wirePublishBytesMax / 2) this.#crowd(false)
    }
    const fail = (error: unknown): void =>
      done(numberedFrame(FRAME.error, request, wireErrorOf(error) satisfies WireError))
    if (this.#passedOn(publish, { done: (first) => done(plainReceiptsFrame(request, block.count, first)), fail }))
      return
    try {
      const admitted = this.#admitted(publish)
      const events = eventsIn(block)
        .slice(0, admitted)
        .map((event) => event.own())
      const refused =
        admitted < block.count ? { count: block.count - admitted, error: wireErrorOf(tooFast(admitted)) } : null
      this.#tried({ ...publish, events }).then((answers) => done(receiptsFrame(request, answers, refused)), fail)
    } catch (error) {
      fail(error)
    }
  }

  /**
   * New events from a trusted client are stored as the bytes that arrived. Events of other clients are decoded and
   * checked.
   * If this way cannot store the events, the normal way handles them and reports any error.
   */
  #passedOn({ channel, block, dueAtMs, since }: Publish, waiter: PublishWaiter): boolean {
    if (dueAtMs !== null || since !== null || this.#behind !== null || !this.#access().trusted) return false
    try {
      this.#access().check('publish', channel)
      if (isStateChannel(channel)) return false
      return this.#engine.publishBlocks(channel, eventsIn(block), waiter)
    } catch {
      return false
    }
  }

  /**
   * How many of the events are within the caller's rate. A batch counts as one request, as over HTTP, and so does each
   * single publish.
   * A publish that may be stored already is never refused, because its sender would conclude that it is not stored.
   * @throws RATE_LIMITED when none is
   */
  #admitted({ since, batch, block }: Publish): number {
    const access = this.#access()
    if (since !== null) access.charge?.()
    else if (batch) access.admit?.(1)
    else return access.admit?.(block.count) ?? block.count
    return block.count
  }

  #crowd(crowded: boolean): void {
    this.#isCrowded = crowded
    this.#crowded(crowded)
  }

  #tried(publish: Given): Promise<PublishOutcome[]> {
    try {
      return this.#store(publish)
    } catch (error) {
      return Promise.reject(error as Error)
    }
  }

  #store(publish: Given): Promise<PublishOutcome[]> {
    this.#access().check('publish', publish.channel)
    refuseStateChannel(publish.channel)
    const judged = this.#behind === null && publish.since === null ? this.#judgedNow(publish) : null
    if (judged !== null) return this.#give(publish.channel, judged.events, publish.dueAtMs)
    const looked = (this.#behind ?? Promise.resolve()).then(() => this.#look(publish))
    const behind = looked.then(
      () => undefined,
      () => undefined,
    )
    this.#behind = behind
    void behind.then(() => {
      if (this.#behind === behind) this.#behind = null
    })
    return looked.then(({ stored }) => stored)
  }

  /**
   * The checked events, if they can be stored now. If the cached declaration seems to refuse one, null: the declaration
   * may have changed and must be read again.
   */
  #judgedNow(publish: Given): Judged | null {
    if (this.#access().trusted) return { events: publish.events, refused: NONE_REFUSED }
    if (!this.#channels.areFresh([publish.channel])) return null
    try {
      const judged = this.#judged(publish)
      return judged.refused.size === 0 ? judged : null
    } catch {
      return null
    }
  }

  /**
   * Check the events. A batch is refused as a whole; separate publishes are refused one by one. @throws the error of
   * the batch, or of the only event
   */
  #judged({ channel, events, batch, keyed }: Given): Judged {
    const refused = new Map<number, WireError>()
    const accepted: EncodedEvent[] = []
    for (const [index, event] of events.entries()) {
      try {
        accepted.push(this.#channels.checked(channel, event, keyed))
      } catch (error) {
        if (batch || events.length === 1) throw error
        refused.set(index, wireErrorOf(error))
      }
    }
    return { events: accepted, refused }
  }

  #give(channel: string, events: readonly EncodedEvent[], dueAtMs: number | null): Promise<Receipt[]> {
    if (events.length === 0) return Promise.resolve([])
    if (events.length > 1) return this.#engine.publishBatch(channel, events, dueAtMs)
    return this.#engine.publish(channel, events[0] as EncodedEvent, dueAtMs).then((receipt) => [receipt])
  }

  /**
   * Look the events up and hand them to the engine. The result is wrapped, so that later publishes wait for the lookup
   * only, not for the commit.
   */
  async #look(publish: Given): Promise<{ readonly stored: Promise<PublishOutcome[]> }> {
    const { channel, dueAtMs, since } = publish
    const { trusted } = this.#access()
    if (!trusted) await this.#channels.look(channel)
    const { events, refused } = trusted ? { events: publish.events, refused: NONE_REFUSED } : this.#judged(publish)
    if (since === null)
      return { stored: this.#give(channel, events, dueAtMs).then((receipts) => outcomesOf(receipts, refused)) }
    const found = await storedSince(this.#engine, channel, since, events)
    const fresh = events.filter(({ id }) => !found.has(id))
    const given = this.#give(channel, fresh, dueAtMs)
    return { stored: given.then((receipts) => outcomesOf(merged(channel, events, found, receipts), refused)) }
  }
}

function tooFast(admitted: number): MillraceError {
  return new MillraceError(
    'RATE_LIMITED',
    `of the publishes in one frame, ${admitted} were within the caller's rate: try the others again later`,
    {},
  )
}

/** The receipts of the stored events, with the errors of the refused ones in between. */
function outcomesOf(receipts: readonly Receipt[], refused: ReadonlyMap<number, WireError>): PublishOutcome[] {
  if (refused.size === 0) return receipts as Receipt[]
  let next = 0
  return Array.from(
    { length: receipts.length + refused.size },
    (_, index) => refused.get(index) ?? (receipts[next++] as Receipt),
  )
}

function merged(
  channel: string,
  events: readonly EncodedEvent[],
  found: ReadonlyMap<string, number>,
  given: readonly Receipt[],
): Receipt[] {
  const byId = new Map(given.map((receipt) => [receipt.id, receipt]))
  return events.map(({ id }) => byId.get(id) ?? { channel, id, offset: found.get(id) as number, duplicate: true })
}

/**
 * The offsets of events that are stored already, as far as the channel's own window does not recognise them.
 * @throws UNAVAILABLE when it cannot be known any more
 */
async function storedSince(
  engine: Engine,
  name: string,
  since: Since,
  events: readonly EncodedEvent[],
): Promise<ReadonlyMap<string, number>> {
  const found = new Map<string, number>()
  const spec = await engine.channel(name)
  const bounds = await boundsIn(engine, name)
  if (spec === undefined || bounds === null) return found
  const { dedupe, retain } = spec
  const ageMs = engine.clock.now() - since.timeMs
  if (dedupe !== null && ageMs < dedupe.ageMs && bounds.next - since.offset <= dedupe.count) return found
  const ids = new Set(events.map(({ id }) => id))
  let first: number | null = null
  const options = {
    from: { timeMs: since.timeMs },
    to: null,
    follow: false,
    signal: new AbortController().signal,
  } as const
  for await (const batch of engine.read(name, options)) {
    for (const { id, offset } of batch) {
      first ??= offset
      if (ids.has(id) && !found.has(id)) found.set(id, offset)
    }
  }
  // The range was read without gaps if nothing of it was removed: an older event still exists, or there never was one.
  const whole =
    !retain.latestByKey &&
    (bounds.first === 0 || (bounds.next > bounds.first && (first === null || first > bounds.first)))
  if (whole || found.size === ids.size) return found
  throw new MillraceError(
    'UNAVAILABLE',
    `the connection was lost before the answer, and it is no longer known whether ${events.length} event(s) were stored in channel "${name}" (the first has id ${String(events[0]?.id)}): look for them before you publish them again`,
    { channel: name, ids: [...ids].slice(0, 100), maybeStored: true },
  )
}
