/**
 * The causal tree of an event: its causes, and all events that it caused.
 *
 * Publishing keeps no index for it. An emission carries the id of its cause, and of the first event of its chain. A
 * walk reads the channels from the time on at which the event was stored. All events of a chain share a correlation id,
 * so one pass finds the whole tree. If a handler sets a correlation id of its own, that chain gets another pass. Each
 * walk has a budget of events, and says at its end whether it saw all of them.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Engine, StoredText } from '../engine.ts'
import { type Budget, EventScan, type Found, type ScanRange } from './event-scan.ts'

/** Tolerance for different clocks of servers. An effect may also be stored in the same millisecond as its cause. */
const SKEW_MS = 2000
/** How far back a walk looks for a cause whose id contains no time: the nearest events first. */
const BACK_MS = [10_000, 600_000, 86_400_000, Number.POSITIVE_INFINITY] as const
const UUID_V7 = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** An event of the tree. */
export interface RelatedText extends Found {
  /** The id of the event's cause. */
  readonly causationId: string | null
  /** `copy`: the same event, by its id, in another channel. */
  readonly relation: 'cause' | 'effect' | 'copy'
  /** The number of steps from the event that the walk began at. A copy has the distance of its original. */
  readonly distance: number
}

/** The progress of a walk. */
export interface WalkProgress {
  /** How many events were read. */
  readonly looked: number
  /** How many channels are read. */
  readonly channels: number
  /** The walk has ended and was not cut short. It covers only the channels that the caller may read. */
  readonly complete: boolean
  /** Why the walk is not complete; null while it runs, and if it is complete. */
  readonly ended: 'budget' | 'limit' | 'missing cause' | 'stopped' | null
}

export interface WalkOptions {
  /** Which channels may be read. */
  readonly mayRead: (channel: string) => boolean
  /** The largest number of events to read. */
  readonly lookedMax: number
  /** The largest number of events to find. */
  readonly foundMax: number
  readonly signal: AbortSignal
}

interface Attributes {
  readonly id: string
  readonly causationid?: unknown
  readonly correlationid?: unknown
}

/** A chain to search for: events that contain one of these texts and were stored at or after a time. */
interface Chain {
  readonly needles: readonly string[]
  readonly fromMs: number
}

type Engines = Pick<Engine, 'read' | 'channels' | 'bounds'>

export class CausalWalk {
  readonly #engine: Engines
  readonly #options: WalkOptions
  readonly #budget: Budget
  #channels: readonly string[] = []
  #found = 0
  #complete = false
  #ended: WalkProgress['ended'] = null

  constructor(engine: Engines, options: WalkOptions) {
    this.#engine = engine
    this.#options = options
    this.#budget = { looked: 0, lookedMax: options.lookedMax }
  }

  get progress(): WalkProgress {
    return {
      looked: this.#budget.looked,
      channels: this.#channels.length,
      complete: this.#complete,
      ended: this.#ended,
    }
  }

  /**
   * The event itself.
   * @throws UNKNOWN_CHANNEL when there is no such channel · OFFSET_OUT_OF_RANGE when it has no event at the offset
   */
  async event(channel: string, offset: number): Promise<StoredText> {
    const { signal } = this.#options
    const one = { from: { offset }, to: { offset: offset + 1 }, follow: false, signal }
    for await (const batch of this.#engine.read(channel, one))
      for (const stored of batch) if (stored.offset === offset) return stored
    throw new MillraceError('OFFSET_OUT_OF_RANGE', `channel "${channel}" has no event at ${offset}`, {
      channel,
      offset,
    })
  }

  /** The causes of an event, the nearest first. Each batch is the result of one step. */
  async *causes(from: Found): AsyncGenerator<readonly RelatedText[]> {
    await this.#begin()
    const known = new Set<string>()
    let effect = from
    for (let distance = 1; ; distance++) {
      const { id, causationid } = attributesOf(effect.stored.text)
      known.add(id)
      // Events that name each other as cause form a circle without a beginning.
      if (typeof causationid !== 'string' || known.has(causationid)) {
        this.#complete = true
        return
      }
      if (this.#found >= this.#options.foundMax) return this.#end('limit')
      const cause = await this.#find(causationid, effect)
      if (cause === null) return this.#cut('missing cause')
      this.#found++
      yield [{ ...cause, causationId: causationOf(attributesOf(cause.stored.text)), relation: 'cause', distance }]
      effect = cause
    }
  }

  /**
   * Find the cause of an event. It reads from the time in the cause's id, if the id has one; otherwise it goes further
   * back in steps.
   */
  async #find(id: string, effect: Found): Promise<Found | null> {
    const untilMs = effect.stored.timeMs + SKEW_MS
    const made = madeMs(id)
    if (made !== null && made < untilMs) {
      const found = await this.#within(id, made - SKEW_MS, untilMs)
      if (found !== null) return found
    }
    let until = untilMs
    for (const back of BACK_MS) {
      const fromMs = effect.stored.timeMs - back
      const found = await this.#within(id, fromMs, until)
      if (found !== null) return found
      until = fromMs
    }
    return null
  }

  async #within(id: string, fromMs: number, untilMs: number): Promise<Found | null> {
    const from = Number.isFinite(fromMs) ? { timeMs: Math.max(0, fromMs) } : ({ at: 'beginning' } as const)
    for await (const found of this.#scan({ from, untilMs }, [quoted(id)]).found()) {
      const cause = found.find(({ stored }) => stored.id === id)
      if (cause !== undefined) return cause
    }
    return null
  }

  /**
   * The events that this one caused, and their copies. Each event comes after its cause. A batch may be empty, to
   * report progress.
   */
  async *effects(from: Found): AsyncGenerator<readonly RelatedText[]> {
    await this.#begin()
    const tree = new Tree(from)
    for (let chain = tree.nextChain(); chain !== undefined; chain = tree.nextChain()) {
      const scan = this.#scan({ from: { timeMs: Math.max(0, chain.fromMs - SKEW_MS) }, untilMs: null }, chain.needles)
      for await (const found of scan.found()) {
        const related = found.flatMap((each) => tree.add(each))
        const room = this.#options.foundMax - this.#found
        this.#found += related.length
        yield related.slice(0, Math.max(0, room))
        if (related.length > room) return this.#end('limit')
      }
      if (!scan.complete) return this.#cut('budget')
    }
    if (tree.overflowed) return this.#end('limit')
    this.#complete = true
  }

  #scan(range: ScanRange, needles: readonly string[]): EventScan {
    const [first = '', second] = needles
    const matches = (text: string): boolean => text.includes(first) || (second !== undefined && text.includes(second))
    return new EventScan(this.#engine, this.#channels, range, matches, this.#budget, this.#options.signal)
  }

  async #begin(): Promise<void> {
    const names = (await this.#engine.channels()).map(({ name }) => name)
    this.#channels = names.filter((name) => !name.startsWith('$') && this.#options.mayRead(name))
  }

  /** End the walk as stopped, as out of budget, or for another reason. */
  #cut(otherwise: NonNullable<WalkProgress['ended']>): void {
    if (this.#options.signal.aborted) this.#end('stopped')
    else this.#end(this.#budget.looked >= this.#budget.lookedMax ? 'budget' : otherwise)
  }

  #end(why: NonNullable<WalkProgress['ended']>): void {
    this.#ended = why
  }
}

/**
 * The events that belong to the tree, and those that belong to it if their cause does: channels are not read in the
 * order of time.
 */
class Tree {
  /** By id: the distance from the event that the walk began at. */
  readonly #distances = new Map<string, number>()
  readonly #seen = new Set<string>()
  /** Events by the id of their cause, which is not known yet to belong to the tree. */
  readonly #waiting = new Map<string, Found[]>()
  readonly #correlations = new Set<string>()
  readonly #chains: Chain[] = []
  #waitingCount = 0
  overflowed = false

  constructor(root: Found) {
    const { id, correlationid } = attributesOf(root.stored.text)
    this.#distances.set(id, 0)
    this.#seen.add(placeOf(root))
    const correlation = typeof correlationid === 'string' ? correlationid : id
    this.#correlations.add(id).add(correlation)
    this.#chains.push({
      needles: [quoted(id), ...(correlation === id ? [] : [quoted(correlation)])],
      fromMs: root.stored.timeMs,
    })
  }

  nextChain(): Chain | undefined {
    return this.#chains.shift()
  }

  /** Add an event. Returns the events that now belong to the tree: this one, and those that waited for it. */
  add(found: Found): RelatedText[] {
    const related: RelatedText[] = []
    // A chain of thousands of events can wait for this one. So it is a list, which grows while it is read.
    const left = [found]
    for (const each of left) {
      const placed = this.#placed(each)
      if (placed === null) continue
      related.push(placed)
      if (placed.relation === 'effect') left.push(...this.#waitedFor(each.stored.id))
    }
    return related
  }

  /** The event with its place in the tree; null where it has none yet, or is known. */
  #placed(found: Found): RelatedText | null {
    const place = placeOf(found)
    if (this.#seen.has(place)) return null
    const { id, causationid, correlationid } = attributesOf(found.stored.text)
    const copied = this.#distances.get(id)
    if (copied !== undefined) {
      this.#seen.add(place)
      return { ...found, causationId: causationOf({ id, causationid }), relation: 'copy', distance: copied }
    }
    if (typeof causationid !== 'string') return null
    const above = this.#distances.get(causationid)
    if (above === undefined) {
      this.#wait(causationid, found)
      return null
    }
    this.#seen.add(place)
    this.#distances.set(id, above + 1)
    this.#follow(id, correlationid, found)
    return { ...found, causationId: causationid, relation: 'effect', distance: above + 1 }
  }

  #waitedFor(id: string): readonly Found[] {
    const waited = this.#waiting.get(id) ?? []
    this.#waiting.delete(id)
    this.#waitingCount -= waited.length
    return waited
  }

  /**
   * If the event has another correlation id, it begins a chain of its own. Its effects do not contain the texts
   * searched so far, so another pass searches for that chain.
   */
  #follow(id: string, correlationid: unknown, { stored }: Found): void {
    const correlation = typeof correlationid === 'string' ? correlationid : id
    if (this.#correlations.has(correlation)) return
    this.#correlations.add(correlation)
    if (this.#chains.length >= LIMITS.causalChainsMax) this.overflowed = true
    else this.#chains.push({ needles: [quoted(correlation)], fromMs: stored.timeMs })
  }

  #wait(causationId: string, found: Found): void {
    if (this.#waitingCount >= LIMITS.causalWaitingMax) {
      this.overflowed = true
      return
    }
    this.#waitingCount++
    const waiting = this.#waiting.get(causationId)
    if (waiting === undefined) this.#waiting.set(causationId, [found])
    else waiting.push(found)
  }
}

function placeOf({ channel, stored }: Found): string {
  return `${channel} ${stored.offset}`
}

/** The text as a JSON string. */
function quoted(text: string): string {
  return JSON.stringify(text)
}

function attributesOf(text: string): Attributes {
  return JSON.parse(text) as Attributes
}

function causationOf({ causationid }: Attributes): string | null {
  return typeof causationid === 'string' ? causationid : null
}

/** The time in an id that contains one, such as a UUID of version 7; otherwise null. */
function madeMs(id: string): number | null {
  return UUID_V7.test(id) ? Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : null
}
