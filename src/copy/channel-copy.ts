/**
 * Copies one channel. Events are copied in order, in batches, and each batch is durable before the next one is written.
 * Events that the target already has are recognised by their content, so an interrupted copy needs no record of its
 * progress. Then both sides are compared completely, and the consumers are set to their positions.
 *
 * During the copy the target channel keeps everything. Its retention is applied only after the comparison.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { OffsetSet } from '../base/offset-set.ts'
import { boundsIn } from '../broker/bounds.ts'
import type { CarriedEvent, CarriedLetter } from '../broker/carriage.ts'
import type { Engine, StoredText } from '../broker/engine.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import { containsOwnOffset, type NewOffsets, withNewOffsets } from '../rules/stored-offsets.ts'
import type { PlannedChannel } from './copy-plan.ts'
import { OffsetMap } from './offset-map.ts'
import { disorderedKey, type Paired, pair } from './pairing.ts'
import type { RuleOffsetMap } from './rule-offset-map.ts'
import { eventsOf, lettersOf, type SourceEvent, sourceEvents } from './source-events.ts'

const BATCH_EVENTS = 500
const BATCH_BYTES = LIMITS.readAheadBytes
const TRIES = 8
const TRY_AGAIN_MS = 250

export interface ChannelCopyHost {
  readonly source: Engine
  readonly target: Engine
  readonly rules: RuleOffsetMap
  /** For events of rules, which contain offsets of other events. */
  readonly newOffsets: NewOffsets
  readonly eventBytesMax: number
  /** Called with the number of the channel's events that are at the target. */
  progress(channel: string, step: 'copy' | 'compare', done: number): void
  readonly signal: AbortSignal
}

export interface Compared {
  readonly events: number
  readonly bytes: number
  readonly checksum: string
  /** Events that the source's own retention removed meanwhile. */
  readonly expired: number
  readonly offsetMap: OffsetMap
}

/** The same channel without retention. */
function endless(spec: ChannelSpec): ChannelSpec {
  return { ...spec, retain: { ...spec.retain, ageMs: null, bytes: null, count: null } }
}

/** Whether the source may remove events of the channel while it is copied. */
function losesEvents({ kind, retain }: ChannelSpec): boolean {
  return (
    kind === 'queue' || retain.ageMs !== null || retain.bytes !== null || retain.count !== null || retain.latestByKey
  )
}

export class ChannelCopy {
  readonly name: string
  readonly planned: PlannedChannel
  readonly #host: ChannelCopyHost
  /** Every event before this source offset is at the target; `null` before the first look. */
  #next: number | null = null

  constructor(planned: PlannedChannel, host: ChannelCopyHost) {
    this.name = planned.spec.name
    this.planned = planned
    this.#host = host
  }

  get #whose(): (string | null)[] {
    return this.planned.consumers.map(({ consumer }) => consumer)
  }

  async *#source(): AsyncGenerator<SourceEvent> {
    const { source, newOffsets } = this.#host
    for await (const event of sourceEvents(source, this.name, this.#whose))
      yield withNewOffsets(this.name, event, newOffsets)
  }

  #target(): AsyncGenerator<StoredText> {
    return eventsOf(this.#host.target, this.name)
  }

  /** Copy what the target does not have yet. @throws EVENT_TOO_LARGE, and the errors of the target */
  async fill(): Promise<void> {
    await this.#host.target.declare(endless(this.planned.spec))
    await this.#host.rules.refresh()
    for (let tries = 1; ; tries++) {
      try {
        return await this.#fillWith(sourceEvents(this.#host.source, this.name, this.#whose), await this.#present())
      } catch (error) {
        // The last batch may or may not be stored, so the target is read again.
        const again = isMillraceError(error) && (error.retryable || error.details['maybeDone'] === true)
        if (!again || tries === TRIES) throw error
        await sleep(TRY_AGAIN_MS * tries)
      }
    }
  }

  /** Copy what was published since. */
  async follow(): Promise<void> {
    if (this.#next === null) return this.fill()
    try {
      await this.#fillWith(eventsOf(this.#host.source, this.name, { offset: this.#next }), new OffsetSet(0))
    } catch (error) {
      if (!isMillraceError(error)) throw error
      await this.fill()
    }
  }

  async #fillWith(events: AsyncIterable<SourceEvent>, present: OffsetSet): Promise<void> {
    const { signal, rules, newOffsets } = this.#host
    const outbox = new Outbox(this.name, this.#host, present)
    for await (const event of events) {
      signal.throwIfAborted()
      this.#next = event.offset + 1
      if (present.has(event.offset)) continue
      if (containsOwnOffset(this.name, event)) {
        await outbox.settled()
        await rules.refresh()
      }
      const { id, type, key, text } = withNewOffsets(this.name, event, newOffsets)
      await outbox.put({ id, type, key, text, timeMs: event.timeMs }, this.#sizeOf(event))
    }
    await outbox.settled()
    await rules.refresh()
  }

  #sizeOf({ id, type, text, offset }: SourceEvent): number {
    const bytes = Buffer.byteLength(text)
    if (bytes <= this.#host.eventBytesMax) return bytes
    throw new MillraceError(
      'EVENT_TOO_LARGE',
      `event "${type}" (id ${id}) of "${this.name}" has ${bytes} bytes; the target takes ${this.#host.eventBytesMax}: raise its limit, or copy other channels with --channels`,
      { channel: this.name, offset, id, bytes, bytesMax: this.#host.eventBytesMax },
    )
  }

  /** The source offsets whose events are at the target. */
  async #present(): Promise<OffsetSet> {
    const present = new OffsetSet(0)
    if (await isEmpty(this.#host.target, this.name)) return present
    await pair(this.#source(), this.#target(), (source) => present.add(source))
    return present
  }

  /** Compare both sides, and find the target offset of every event that matters. @throws COPY_DIFFERS */
  async compare(mentioned: {
    readonly exact: ReadonlySet<number>
    readonly starts: ReadonlySet<number>
  }): Promise<Compared> {
    const { spec, consumers } = this.planned
    const wanted = new Set(mentioned.exact)
    for (const { consumer } of consumers)
      for await (const { offset } of lettersOf(this.#host.source.carriage, this.name, consumer)) wanted.add(offset)
    const offsetMap = new OffsetMap(consumers, wanted, mentioned.starts)
    const first = await this.#pair(offsetMap, new Set())
    const without = new Set(first.extra)
    if (without.size > 0 && !losesEvents(spec))
      throw this.#differs(
        `${without.size} events at the target are not in the source, the first at offset ${first.extra[0]}`,
      )
    if (first.missing > 0) throw this.#differs(`${first.missing} of ${first.source.count} events are not at the target`)
    const paired = without.size === 0 ? first : await this.#pair(new OffsetMap([], [], []), without)
    if (paired.source.checksum !== paired.target.checksum || paired.source.count !== paired.target.count)
      throw this.#differs('the checksums differ')
    if (paired.source.order !== paired.target.order) {
      const key = await disorderedKey(this.#source(), this.#target(), without)
      if (key !== null) throw this.#differs(`the events of key "${key}" are in another order`)
    }
    offsetMap.end = await this.end(this.#host.target)
    const { count, bytes, checksum } = paired.source
    return { events: count, bytes, checksum, expired: without.size, offsetMap }
  }

  #pair(offsetMap: OffsetMap, without: ReadonlySet<number>): Promise<Paired> {
    let done = 0
    return pair(
      this.#source(),
      this.#target(),
      (source, target) => {
        offsetMap.matched(source, target)
        if (++done % BATCH_EVENTS === 0) this.#host.progress(this.name, 'compare', done)
      },
      without,
    )
  }

  #differs(how: string): MillraceError {
    return new MillraceError(
      'COPY_DIFFERS',
      `channel "${this.name}" differs at the target: ${how}. Remove the channel there, and copy it again`,
      {
        channel: this.name,
      },
    )
  }

  async end(engine: Engine): Promise<number> {
    return (await boundsIn(engine, this.name))?.next ?? 0
  }

  /** Set the consumers to their positions, with their dead letters. */
  async settle({ offsetMap }: Compared): Promise<void> {
    const { source, target, newOffsets } = this.#host
    for (const state of offsetMap.consumers) {
      await target.carriage.putConsumer(state)
      let letters: CarriedLetter[] = []
      let bytes = 0
      for await (const letter of lettersOf(source.carriage, this.name, state.consumer)) {
        const there = offsetMap.letter(withNewOffsets(this.name, letter, newOffsets))
        if (there === null) continue
        letters.push(there)
        bytes += there.text.length
        if (letters.length < BATCH_EVENTS && bytes < BATCH_BYTES) continue
        await target.carriage.putLetters(this.name, state.consumer, letters)
        letters = []
        bytes = 0
      }
      if (letters.length > 0) await target.carriage.putLetters(this.name, state.consumer, letters)
    }
  }
}

/** Whether a channel is empty or does not exist. */
export async function isEmpty(engine: Engine, channel: string): Promise<boolean> {
  if ((await engine.channel(channel)) === undefined) return true
  for await (const _ of eventsOf(engine, channel)) return false
  return true
}

/** Events to be written: the next batch is gathered while one is made durable. */
class Outbox {
  readonly #channel: string
  readonly #host: ChannelCopyHost
  readonly #present: OffsetSet
  #batch: CarriedEvent[] = []
  #bytes = 0
  #done: number
  #putting: Promise<void> = Promise.resolve()

  constructor(channel: string, host: ChannelCopyHost, present: OffsetSet) {
    this.#channel = channel
    this.#host = host
    this.#present = present
    this.#done = this.#present.floor + this.#present.above
  }

  async put(event: CarriedEvent, bytes: number): Promise<void> {
    this.#batch.push(event)
    this.#bytes += bytes
    if (this.#batch.length >= BATCH_EVENTS || this.#bytes >= BATCH_BYTES) await this.#flush()
  }

  async #flush(): Promise<void> {
    await this.#putting
    const events = this.#batch
    if (events.length === 0) return
    this.#batch = []
    this.#bytes = 0
    const { target, progress } = this.#host
    this.#putting = target.carriage.putEvents(this.#channel, events).then(() => {
      this.#done += events.length
      progress(this.#channel, 'copy', this.#done)
    })
    this.#putting.catch(() => undefined)
  }

  /** Wait until everything added so far is durable. */
  async settled(): Promise<void> {
    await this.#flush()
    await this.#putting
  }
}
