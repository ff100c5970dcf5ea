/**
 * Reads what consumers have settled, and their dead letters, out of one engine, and writes them into another. The
 * unit is a channel: where a channel has several logs, the state is joined from the homes in all of them, and divided
 * among them.
 */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type {
  Carriage,
  CarriedConsumer,
  CarriedEvent,
  CarriedLetter,
  CarriedSchedule,
  Page,
} from '../../broker/carriage.ts'
import { QUEUE_GROUP } from '../consumer-records.ts'
import type { CarriedHomes, OpenRecords } from './carried-homes.ts'
import { type CarriedProgress, clearedRecords, letterRecords, lettersIn, progressRecords } from './carried-state.ts'
import type { Home, HomeState } from './homes.ts'
import { joinedProgress } from './joined-progress.ts'

/** The size of a page of events or letters, at most. */
export const PAGE: { readonly count: number; readonly bytes: number } = { count: 1000, bytes: LIMITS.readAheadBytes }

export abstract class ConsumerCarriage<H extends Home> implements Carriage {
  readonly #homes: CarriedHomes<H>

  constructor(homes: CarriedHomes<H>) {
    this.#homes = homes
  }

  abstract accepts(): Promise<{ readonly eventBytesMax: number; readonly keepsTimes: boolean }>
  abstract scheduled(channel: string, from: string | null): Promise<Page<CarriedSchedule>>
  abstract putEvents(channel: string, events: readonly CarriedEvent[]): Promise<void>

  async consumers(channel: string): Promise<CarriedConsumer[]> {
    await this.#homes.look()
    const bounds = await this.#homes.bounds(channel)
    const groups = new Set(
      (await this.#homes.list()).flatMap((home) => (home.channel.name === channel ? [home.group] : [])),
    )
    const found: CarriedConsumer[] = []
    for (const group of [...groups].sort()) {
      const states = await this.#states(channel, group)
      const workers = [...new Set(states.flatMap(([, state]) => state.workers))].sort()
      const progress = await joinedProgress(this.#homes, states, bounds)
      if (progress !== null)
        found.push({ channel, consumer: group === QUEUE_GROUP ? null : group, workers, ...progress })
    }
    return found
  }

  async #states(channel: string, group: string): Promise<readonly (readonly [home: H, state: HomeState])[]> {
    const homes = await this.#homes.logs(channel, group)
    return Promise.all(
      homes.map(async (home) => {
        await this.#homes.flushed(home)
        return [home, await this.#homes.read(home)] as const
      }),
    )
  }

  async letters(channel: string, consumer: string | null, from: string | null): Promise<Page<CarriedLetter>> {
    await this.#homes.look()
    const states = await this.#states(channel, consumer ?? QUEUE_GROUP)
    const pages = await Promise.all(
      states.map(([{ group, logId }, { records, letters }]) =>
        lettersIn(records, group, logId, Number(from ?? 0), PAGE, letters),
      ),
    )
    // After the end of its page, the letters of a log are not known. The joined page ends at the lowest of these ends.
    const known = Math.min(...pages.map((page) => page.at(-1)?.offset ?? Number.POSITIVE_INFINITY))
    const items = pages
      .flat()
      .filter(({ offset }) => offset <= known)
      .sort((a, b) => a.offset - b.offset)
    return { items, next: items.length === 0 ? null : String(known + 1) }
  }

  async putConsumer(state: CarriedConsumer): Promise<void> {
    const { channel, workers } = state
    const touched = [...state.retries.map(({ offset }) => offset), ...(state.inFlight?.offsets ?? [])]
    const logs = new Map<number, number>()
    for (const offset of touched) logs.set(offset, await this.#homes.logAt(channel, offset))
    await this.#put(channel, state.consumer, workers, async (home) => {
      const { group, logId } = home
      const progress = progressIn(state, await this.#homes.endOf(home), (offset) => logs.get(offset) === logId)
      return ({ records, write, addWorker }) => {
        for (const [key] of [...clearedRecords(records, group, logId)]) write(key, null)
        for (const [key, value] of progressRecords(group, logId, progress)) write(key, value)
        for (const worker of workers) addWorker(worker)
      }
    })
  }

  async putLetters(channel: string, consumer: string | null, letters: readonly CarriedLetter[]): Promise<void> {
    const workers = [...new Set(letters.map((letter) => letter.consumer))]
    await this.#put(channel, consumer, workers, async ({ group, logId }) => {
      const own = letters.filter((letter) => this.#homes.logOf(channel, letter) === logId)
      return ({ write }) => {
        for (const [key, value] of letterRecords(group, logId, own)) write(key, value)
      }
    })
  }

  /**
   * Change the homes of a consumer, or of the workers of a queue (null), that do not run.
   * @throws UNKNOWN_CHANNEL · INVALID_OPTION when they run
   */
  async #put(
    channel: string,
    consumer: string | null,
    workers: readonly string[],
    changeOf: (home: H) => Promise<(open: OpenRecords) => void>,
  ): Promise<void> {
    await this.#homes.look()
    for (const home of await this.#homes.logs(channel, consumer ?? QUEUE_GROUP)) {
      if (await this.#homes.put(home, consumer === null ? workers : [consumer], await changeOf(home))) continue
      const subject = consumer === null ? `queue "${channel}"` : `consumer "${consumer}"`
      throw new MillraceError('INVALID_OPTION', `consumers work on ${subject}: stop them before the copy`, { channel })
    }
  }
}

/**
 * The part of a consumer's progress in a channel that belongs to one log. Offsets at and after the log's end are not
 * settled: the log may still get events there.
 */
function progressIn(
  { floor, settled, retries, inFlight }: CarriedProgress,
  end: number,
  isHere: (offset: number) => boolean,
): CarriedProgress {
  return {
    floor: Math.min(floor, end),
    settled: settled.flatMap(([from, to]): [number, number][] => (from < end ? [[from, Math.min(to, end)]] : [])),
    retries: retries.filter(({ offset }) => isHere(offset)),
    inFlight:
      inFlight === null
        ? null
        : {
            ...inFlight,
            offsets: inFlight.offsets.filter(isHere),
            solo: inFlight.solo !== null && isHere(inFlight.solo) ? inFlight.solo : null,
          },
  }
}
