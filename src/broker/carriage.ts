/**
 * The part of the port by which everything that is in an engine is taken out, and put into another as it was: events with the times at which they were
 * stored, what consumers have settled, what failed, what waits. Copies between engines work with it, and nothing else does.
 *
 * Offsets are always those of the engine that is asked: who copies translates them. What is put in replaces what was there, so a call may be repeated;
 * but for `putEvents`, which appends.
 */
import type { EncodedEvent } from './encoded-event.ts'
import type { Failure } from './failure.ts'

/** An event with the time at which it was stored first. */
export interface CarriedEvent extends EncodedEvent {
  readonly timeMs: number
}

/** Attempts of an event that failed and is not settled. */
export interface CarriedRetry {
  readonly offset: number
  readonly attempts: number
  readonly dueAtMs: number
  readonly failure: Failure
  /** It ran alone when its worker died. */
  readonly proven?: boolean
}

/** What a consumer has done in one channel. Events at and above `floor` that `settled` does not name are still to be handled. */
export interface CarriedConsumer {
  readonly channel: string
  /** `null`: the workers of a queue, who share what is settled. */
  readonly consumer: string | null
  /** The names of a queue's workers. */
  readonly workers: readonly string[]
  readonly floor: number
  /** Offsets above the floor that are settled, from and up to, in order. What lies between events may be named or not. */
  readonly settled: readonly (readonly [from: number, to: number])[]
  readonly retries: readonly CarriedRetry[]
  /** What was in handlers' hands if a process died: suspects (clause 5). */
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
  /** The largest event that it takes, and whether it keeps the times at which events were stored elsewhere: where not, what is copied is as old as the copy. */
  accepts(): Promise<{ readonly eventBytesMax: number; readonly keepsTimes: boolean }>
  /** All that have begun to read a channel. */
  consumers(channel: string): Promise<readonly CarriedConsumer[]>
  /** The dead letters of a consumer (`null`: of a queue's workers) with what waits behind them, in offset order. */
  letters(channel: string, consumer: string | null, from: string | null): Promise<Page<CarriedLetter>>
  scheduled(channel: string, from: string | null): Promise<Page<CarriedSchedule>>
  /** Append events as they are: not deduplicated, but known to deduplication afterwards; with their times. Resolves when they are durable. */
  putEvents(channel: string, events: readonly CarriedEvent[]): Promise<void>
  /** Put a consumer where it was. It has no letters then. @throws INVALID_OPTION when it runs */
  putConsumer(state: CarriedConsumer): Promise<void>
  putLetters(channel: string, consumer: string | null, letters: readonly CarriedLetter[]): Promise<void>
}
