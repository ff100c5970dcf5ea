/**
 * A lane: the offsets of one key that a cursor has read and that wait for their turn, in order (clause 4). A lane
 * exists only while it holds something. An event without a key that has to wait gets a lane of its own.
 *
 * `Holder` is the type of an instance. A lane only compares instances; it calls nothing of them.
 */
import { OffsetQueue } from '../../base/offset-queue.ts'

export class Lane<Holder extends object = object> {
  #key: string | null
  #inFlight = 0
  #holder: Holder | null = null
  #last = -1
  #lastRedriven = false
  #passedUpTo = -1
  #full: readonly Holder[] | null = null
  #blocked = false
  #queued = false
  #referenced = false
  #epoch: number
  readonly #waiting = new OffsetQueue()

  constructor(key: string | null, epoch: number) {
    this.#key = key
    this.#epoch = epoch
  }

  get key(): string | null {
    return this.#key
  }

  /** Deliveries of the key that are not settled. */
  get inFlight(): number {
    return this.#inFlight
  }

  /** The instance that holds those deliveries: one at a time. */
  get holder(): Holder | null {
    return this.#holder
  }

  /** The offset that was delivered last. While a delivery is in flight, no offset before this one is delivered. */
  get last(): number {
    return this.#last
  }

  /** Whether the last delivered event came from the dead letters. It is then before every offset that waits here. */
  get lastRedriven(): boolean {
    return this.#lastRedriven
  }

  /** Deliveries in flight up to this offset passed a letter that was redriven since: they may complete before it. */
  get passedUpTo(): number {
    return this.#passedUpTo
  }

  /**
   * The instances that match the first waiting event and had no credit at the last look; null where that is not
   * known.
   */
  get full(): readonly Holder[] | null {
    return this.#full
  }

  /** The first waiting event is not due yet, is being read, or has to wait until it may run alone. */
  get blocked(): boolean {
    return this.#blocked
  }

  /** The lane is in its table's list of ready lanes. */
  get queued(): boolean {
    return this.#queued
  }

  /** A timer, a read or a list may still refer to this lane, so it is not used for another key. */
  get referenced(): boolean {
    return this.#referenced
  }

  /** The number of rewinds before the lane was made; −1 after it was retired. */
  get epoch(): number {
    return this.#epoch
  }

  /** Serve another key. The lane must be empty, and nothing may refer to it. */
  reuse(key: string): void {
    this.#key = key
    this.#holder = null
    this.#full = null
    this.#passedUpTo = -1
  }

  /** Nothing is delivered from this lane any more: another lane may serve its key. */
  retire(): void {
    this.#epoch = -1
  }

  delivered(holder: Holder, offset: number, redriven: boolean): void {
    this.#inFlight++
    this.#holder = holder
    this.#last = offset
    this.#lastRedriven = redriven
  }

  /** One delivery has ended. */
  ended(): void {
    this.#inFlight--
  }

  /** A letter that the deliveries in flight have passed comes back: they may complete before it. */
  letPass(): void {
    this.#passedUpTo = this.#last
  }

  block(): void {
    this.#blocked = true
  }

  unblock(): void {
    this.#blocked = false
  }

  /**
   * The instances without credit for which the first event waits; null: check it again when any instance has credit.
   */
  waitFor(full: readonly Holder[] | null): void {
    this.#full = full
  }

  enteredQueue(): void {
    this.#queued = true
    this.#referenced = true
  }

  leftQueue(): void {
    this.#queued = false
  }

  /** How many events wait. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** The lowest waiting offset. There must be one. */
  get first(): number {
    return this.#waiting.first as number
  }

  /** Whether an event with a lower offset waits. */
  waitsBefore(offset: number): boolean {
    return this.waiting > 0 && this.first < offset
  }

  /** All waiting offsets, in order. */
  get offsets(): number[] {
    return this.#waiting.toArray()
  }

  add(offset: number): void {
    this.#referenced = true
    this.#full = null
    this.#waiting.add(offset)
  }

  remove(offset: number): void {
    this.#full = null
    this.#waiting.remove(offset)
  }

  /** Remove the lowest waiting offset. There must be one. */
  shift(): number {
    this.#full = null
    return this.#waiting.shift() as number
  }
}
