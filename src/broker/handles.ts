/**
 * One channel and one consumer, as people look at them and change them. A handle is a name: making it asks nothing, and
 * each call costs what it asks for, whatever other channels and consumers there are.
 */
import type { Channel } from '../channel/channel.ts'
import type { ActionOptions } from './action-options.ts'
import type { StateChoice } from './consumers.ts'
import type { DelayedEvent, DelayedQuery } from './delays.ts'
import type { ChannelState, ConsumerDescription, DeadLetter, DeadLetterQuery } from './description.ts'
import type { Bounds } from './engine.ts'
import type { From } from './position.ts'
import type { Readable, ReadOptions } from './reading.ts'

/** The delayed events of one channel (published or emitted with `delay` or `at`, and not due yet). */
export interface DelayedEvents {
  /**
   * The soonest first. At most 1,000 unless `limit` (up to 10,000) says otherwise; the next page is `after` the last
   * event of this one.
   * @throws INVALID_OPTION when the query is wrong, or has a member that is `undefined` · UNKNOWN_CHANNEL when no
   * channel of the name is declared
   */
  list(query?: DelayedQuery): Promise<DelayedEvent[]>
  /**
   * Cancel the delayed event with this id. Resolves when that is durable: with `true` if the event waited and will
   * never be stored, with `false` if there is no such delayed event: it is stored already, was cancelled before, or was
   * never published. An event is stored or cancelled, never both, even if others cancel it at the same time or a
   * process dies. The id of a cancelled event may be published again. If a publish was not answered when its event was
   * cancelled, its process may send it again, and it is then a new event.
   *
   * @throws INVALID_OPTION when it is not an id · UNKNOWN_CHANNEL when no channel of the name is declared · UNAVAILABLE
   * when no answer came; the event may have been cancelled
   */
  cancel(id: string, options?: ActionOptions): Promise<boolean>
  /**
   * Cancel all delayed events with this key. Resolves with how many when that is durable. An event that becomes due
   * meanwhile may be stored; each is stored or cancelled, never both.
   * @throws as `cancel`
   */
  cancelKey(key: string, options?: ActionOptions): Promise<number>
}

/** The dead letters of one consumer. */
export interface DeadLetters {
  /**
   * Oldest first. At most 1,000 unless `limit` says otherwise.
   * @throws INVALID_OPTION when the query is wrong, or has a member that is `undefined` · UNKNOWN_CONSUMER when no
   * consumer of the name was ever started
   */
  list(query?: DeadLetterQuery): Promise<DeadLetter[]>
  /**
   * Give them back to that consumer alone, in order. Resolves with how many.
   * @throws as `list` · UNKNOWN_DEAD_LETTER when the query names an offset or an id without a dead letter
   */
  redrive(query?: DeadLetterQuery, options?: ActionOptions): Promise<number>
  /**
   * Delete them; events that waited behind them are delivered. Resolves with how many.
   * @throws as `redrive`
   */
  drop(query?: DeadLetterQuery, options?: ActionOptions): Promise<number>
}

export interface RewindOptions extends ActionOptions {
  /** In this channel only. @default every stream that it consumes */
  readonly channel?: string | { readonly name: string }
  /**
   * What happens to the state of a consumer that keeps any: `'keep'` leaves it, so handlers see events again that have
   * changed it already; `'reset'` deletes all of it in the same commit. It must be said for such a consumer.
   * @default undefined, for a consumer without state
   */
  readonly state?: StateChoice
}

/** `describe()` shows the reason and the name of a pause, also a name without a reason. */
export interface PauseOptions extends ActionOptions {}

/**
 * One channel, whether or not this process publishes or consumes it.
 *
 * @example
 * ```ts no-run
 * import { connect } from 'millrace'
 *
 * const broker = await connect('file:./data')
 * const reminders = broker.channel('reminders')
 * const { first, next } = await reminders.bounds()
 * const [soonest] = await reminders.delayed.list({ key: 'cart-7', limit: 1 })
 * if (soonest !== undefined) await reminders.delayed.cancel(soonest.id)
 * console.log(`offsets ${first} to ${next - 1}`)
 * ```
 */
export interface ChannelHandle<C extends Channel | string = string> {
  readonly name: string
  /** Its kind, types, offsets, bytes and rate. @throws UNKNOWN_CHANNEL when no channel of the name is declared */
  describe(): Promise<ChannelState>
  /**
   * The offset of its oldest event, and the offset that its next event will have.
   * @throws UNKNOWN_CHANNEL when no channel of the name is declared
   */
  bounds(): Promise<Bounds>
  /** Read it without consuming: the same as `broker.read(channel, options)`. */
  read(options?: ReadOptions): AsyncIterableIterator<Readable<C>>
  /** Its delayed events: list them, or cancel one. To replace an event, cancel it and publish the new one. */
  readonly delayed: DelayedEvents
  /**
   * Delete the channel and its events. Its consumers continue without it.
   * @throws UNKNOWN_CHANNEL when no channel of the name is declared
   */
  remove(options?: ActionOptions): Promise<void>
}

/**
 * One consumer, running or not, in this process or in others. On NATS, Kafka, Redis and Postgres a question about a
 * consumer also reads, of each queue, which consumers work on it.
 *
 * @example
 * ```ts no-run
 * import { connect } from 'millrace'
 *
 * const broker = await connect('file:./data')
 * const billing = broker.consumer('billing')
 * await billing.pause({ reason: 'the bank is down' })
 * const { channels, deadLetters } = await billing.describe()
 * console.log(`${channels.reduce((sum, { lag }) => sum + lag, 0)} events behind, ${deadLetters} dead letters`)
 * await billing.deadLetters.redrive()
 * await billing.resume()
 * ```
 */
export interface ConsumerHandle {
  readonly name: string
  /**
   * Its positions and lag in each channel, instances, dead letters, rate, pause and stall.
   * @throws UNKNOWN_CONSUMER when no consumer of the name was ever started
   */
  describe(): Promise<ConsumerDescription>
  /**
   * Move it to another position, running or not, in all of its streams or in one. Its events in flight are taken back.
   *
   * @throws INVALID_OPTION when the position is wrong, it is not a consumer of that channel, or the channel is a queue,
   * which does not keep events that are done · UNKNOWN_CONSUMER when no consumer of the name was ever started ·
   * UNKNOWN_CHANNEL when no channel of the name is declared · OFFSET_OUT_OF_RANGE when the offset is beyond the end
   */
  rewind(to: From, options?: RewindOptions): Promise<void>
  /** Its dead letters: list, redrive or drop them. The same as `broker.deadLetters(consumer)`. */
  readonly deadLetters: DeadLetters
  /**
   * Pause it as a whole: no instance of it, in any process, gets an event until `resume`. Running handlers end
   * normally. The pause is durable: it survives restarts, and `describe()` shows it with its reason.
   *
   * @throws INVALID_OPTION when the reason is not text or is too long · UNKNOWN_CONSUMER when no consumer of the name
   * was ever started
   */
  pause(options?: PauseOptions): Promise<void>
  /** Let it continue where it was. @throws UNKNOWN_CONSUMER when no consumer of the name was ever started */
  resume(options?: ActionOptions): Promise<void>
  /**
   * Remove it with its positions, retries and dead letters.
   * @throws UNKNOWN_CONSUMER when no consumer of the name was ever started · INVALID_OPTION when it runs
   */
  remove(options?: ActionOptions): Promise<void>
}
