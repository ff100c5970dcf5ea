/**
 * What a look at retained events shows: who publishes each type, and the newest event of each type as an example. Each
 * look reads the newest events of each channel, and only those that no look has read before: first those that came
 * since, then those that the looks before had no bytes left for. Channels, types and publishers are bounded.
 */
import { isMillraceError } from '../base/errors.ts'
import { type JsonObject, jsonObject } from '../base/json-object.ts'
import { LIMITS } from '../base/limits.ts'
import { isName } from '../base/names.ts'
import { boundsIn } from '../broker/bounds.ts'
import type { Engine, StoredText } from '../broker/engine.ts'
import type { CatalogueWarning, SeenType } from './catalogue.ts'
import { type EventFacts, type Maker, Makers, type Readers } from './makers.ts'
import { readNewestFirst, type Span } from './newest-first.ts'

interface Known {
  readonly channel: string
  readonly type: string
  readonly makers: Map<string, Maker & { certain: boolean; lastMs: number }>
  newest: { readonly offset: number; readonly text: string } | null
}

/** An event of which the type and the origin are known. */
interface Read extends EventFacts {
  readonly type: string
  readonly stored: StoredText
}

/** What was looked at in a channel. */
interface Progress {
  /** The offset after the newest event when the last look began. */
  readonly next: number
  /** Below it, what is not read yet, the newest first. */
  readonly left: readonly Span[]
}

/** The newest event of a type, before anything is masked. */
export interface NewestEvent {
  readonly offset: number
  readonly text: string
}

export type SeenNewest = Omit<SeenType, 'example'> & { readonly newest: NewestEvent | null }

export class SeenEvents {
  readonly #makers = new Makers()
  /** By channel. */
  readonly #looked = new Map<string, Progress>()
  /** By channel and type. */
  readonly #known = new Map<string, Map<string, Known>>()
  #turn = 0

  /** Read what is new in these channels. Returns what could not be read. */
  async look(engine: Engine, channels: readonly string[], readers: Readers): Promise<CatalogueWarning[]> {
    const there = new Set(channels)
    for (const channel of this.#known.keys()) if (!there.has(channel)) this.#forget(channel)
    const unread: CatalogueWarning[] = []
    const read: Read[] = []
    let bytes = 0
    // The next look begins with the channels that this one has no bytes left for.
    const start = channels.length === 0 ? 0 : this.#turn % channels.length
    for (const channel of [...channels.slice(start), ...channels.slice(0, start)]) {
      if (bytes > LIMITS.catalogueLookBytes) break
      this.#turn++
      try {
        bytes += await this.#read(engine, channel, read)
      } catch (error) {
        if (!isMillraceError(error, 'FORBIDDEN')) throw error
        unread.push({
          code: 'not-read',
          message: `the events of channel "${channel}" are not read: ${error.message}`,
          channel,
        })
      }
    }
    for (const fact of read) this.#makers.remember(fact)
    for (const fact of read) this.#count(fact, readers)
    return unread
  }

  all(): readonly SeenNewest[] {
    return [...this.#known.values()].flatMap((types) =>
      [...types.values()].map(({ makers, ...known }) => ({ ...known, makers: [...makers.values()] })),
    )
  }

  #forget(channel: string): void {
    this.#known.delete(channel)
    this.#looked.delete(channel)
  }

  async #read(engine: Engine, channel: string, into: Read[]): Promise<number> {
    const bounds = await boundsIn(engine, channel)
    if (bounds === null) return 0
    const { first, next } = bounds
    // A channel that begins again under the same name has lower offsets.
    if ((this.#looked.get(channel)?.next ?? 0) > next) this.#forget(channel)
    for (const known of this.#known.get(channel)?.values() ?? [])
      if (known.newest !== null && known.newest.offset < first) known.newest = null
    const looked = this.#looked.get(channel) ?? { next: 0, left: [] }
    const oldest = Math.max(first, next - LIMITS.catalogueEventsMax)
    const spans = [{ from: looked.next, to: next }, ...looked.left].flatMap(({ from, to }) =>
      to > oldest && to > from ? [{ from: Math.max(from, oldest), to }] : [],
    )
    const { bytes, left } = await readNewestFirst(engine, channel, spans, LIMITS.catalogueChannelBytes, (stored) => {
      const fact = factOf(channel, stored)
      if (fact !== null) into.push(fact)
    })
    this.#looked.set(channel, { next, left })
    return bytes
  }

  #count(fact: Read, readers: Readers): void {
    const known = this.#ofType(fact.channel, fact.type)
    if (known === null) return
    const { text, offset } = fact.stored
    if (text.length <= LIMITS.catalogueExampleChars && offset >= (known.newest?.offset ?? 0))
      known.newest = { offset, text }
    const made = this.#makers.of(fact, readers)
    for (const { kind, name } of made) {
      const key = `${kind}:${name}`
      const maker = known.makers.get(key)
      if (maker !== undefined) {
        maker.lastMs = Math.max(maker.lastMs, fact.timeMs)
        maker.certain ||= made.length === 1
      } else if (known.makers.size < LIMITS.catalogueMakersMax)
        known.makers.set(key, { kind, name, certain: made.length === 1, lastMs: fact.timeMs })
    }
  }

  #ofType(channel: string, type: string): Known | null {
    const types = this.#known.get(channel) ?? new Map<string, Known>()
    this.#known.set(channel, types)
    const known = types.get(type)
    if (known !== undefined) return known
    if (types.size >= LIMITS.catalogueTypesMax) return null
    const made: Known = { channel, type, makers: new Map(), newest: null }
    types.set(type, made)
    return made
  }
}

/** Null if the event's type cannot be the name of one: another system wrote it. */
function factOf(channel: string, stored: StoredText): Read | null {
  const event: JsonObject | null = stored.text.length > LIMITS.catalogueChannelBytes ? null : jsonObject(stored.text)
  const { id, source, causationid } = event ?? {}
  if (typeof id !== 'string' || typeof source !== 'string' || !isName(stored.type)) return null
  return {
    channel,
    id,
    source,
    causationid: typeof causationid === 'string' ? causationid : null,
    timeMs: stored.timeMs,
    type: stored.type,
    stored,
  }
}
