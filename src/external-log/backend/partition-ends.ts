/**
 * Where each partition of a channel ends, for a backend that sees every new event of the channel from an offset on,
 * without a gap. A partition that got no event since then ends at that offset.
 *
 * A backend needs it to tell the end of one partition without asking the servers, and to say of new events that nothing
 * stands before them (`Tail.before`).
 */
export class PartitionEnds {
  readonly #from: number
  readonly #ends = new Map<number, number>()

  /** All events that were stored earlier have offsets below `from`. */
  constructor(from: number) {
    this.#from = from
  }

  /** The offset after the last event of a partition. */
  of(partition: number): number {
    return this.#ends.get(partition) ?? this.#from
  }

  /** A partition has a new event. Answers where the partition ended before it. */
  extend(partition: number, offset: number): number {
    const before = this.of(partition)
    this.#ends.set(partition, offset + 1)
    return before
  }
}
