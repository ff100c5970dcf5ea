/**
 * The part of the port that reads the whole content of an engine and writes it unchanged into another one: events with
 * the times at which they were stored, progress of consumers, retries, dead letters, delayed events. Only copies use
 * it.
 *
 * Offsets are those of the engine that is called; the copy translates them. Writing replaces what was there, so a call
 * may be repeated, except `putEvents`, which appends.
 */
import type { EncodedEvent } from './encoded-event.ts'
import type { Failure } from './failure.ts'

/** An event with the time at which it was first stored. */
export interface CarriedEvent extends EncodedEvent {
  readonly timeMs: number
}

/** Attempts of an event that failed and is not settled. */
export interface CarriedRetry {
  readonly offset: number
  readonly attempts: number
  readonly dueAtMs: number
  readonly failure: Failure
  /** It was the only event in flight when its worker died. */
  readonly proven?: boolean
}

/**
 * The progress of a consumer in one channel. Events at and above `floor` that `settled` does not contain are not
 * handled yet.
 */
export interface CarriedConsumer {
  readonly channel: string
  /** `null`: the workers of a queue, which share their progress. */
  readonly consumer: string | null
  /** The names of a queue's workers. */
  readonly workers: readonly string[]
  readonly floor: number
  /**
   * Settled offsets above the floor, in order: from (inclusive), to (exclusive). Offsets without an event may be
   * included.
   */
  readonly settled: readonly (readonly [from: number, to: number])[]
  readonly retries: readonly CarriedRetry[]
  /** Deliveries that were in flight when a process died: suspects (clause 5). */
  readonly inFlight: {
    readonly credit: number
    readonly offsets: readonly number[]
    readonly solo: number | null
  } | null
}

/** A dead letter, one that was redriven, or an event that waits behind one of its key. */
export interface CarriedLetter extends CarriedEvent {
  readonly offset: number
  readonly consumer: string
  readonly state: 'dead' | 'live'
  readonly attempts: number
  readonly failure: Failure | null
  readonly deadAtMs: number
  /** The key whose later events wait for it; `null` where none do. */
  readonly chain: string | null
  /** The whole channel waits for it. */
  readonly blocks: boolean
}

/** An event that waits for its time. */
export interface CarriedSchedule {
  readonly event: EncodedEvent
  readonly dueAtMs: number
}

/** A page, and where the next one begins; `null` after the last. */
export interface Page<Item> {
  readonly items: readonly Item[]
  readonly next: string | null
}

export interface Carriage {
  /**
   * The largest event that the engine accepts, and whether it keeps the times at which events were stored elsewhere. If
   * not, copied events have the time of the copy.
   */
  accepts(): Promise<{ readonly eventBytesMax: number; readonly keepsTimes: boolean }>
  /** All consumers that have begun to read a channel. */
  consumers(channel: string): Promise<readonly CarriedConsumer[]>
  /** The dead letters of a consumer (`null`: of a queue's workers) with what waits behind them, in offset order. */
  letters(channel: string, consumer: string | null, from: string | null): Promise<Page<CarriedLetter>>
  scheduled(channel: string, from: string | null): Promise<Page<CarriedSchedule>>
  /**
   * Append events unchanged, with their times. They are not deduplicated, but later duplicates of them are detected.
   * Resolves when they are durable.
   */
  putEvents(channel: string, events: readonly CarriedEvent[]): Promise<void>
  /** Write a consumer's progress. It has no dead letters afterwards. @throws INVALID_OPTION when it runs */
  putConsumer(state: CarriedConsumer): Promise<void>
  putLetters(channel: string, consumer: string | null, letters: readonly CarriedLetter[]): Promise<void>
}
