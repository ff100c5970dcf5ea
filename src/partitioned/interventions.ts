/**
 * What people do to a consumer from outside: look at its dead letters, give them back, drop them, rewind it, remove it. Whoever cancels a delayed event does
 * that to the consumer which looks after them (cancelling.ts).
 *
 * A partition that this engine owns is changed where it is. One that somebody else owns is taken for a moment, which fences its owner; the owner is told,
 * finds it lost, and claims it again. What was in its hands is delivered again, without having used an attempt.
 */
import { type Clock, pause } from '../base/clock.ts'
import { MillraceError } from '../base/errors.ts'
import { type ConsumerPause, DEAD_LETTERS_MAX, type DeadLetter, type DeadLetterQuery } from '../broker/description.ts'
import type { Position } from '../broker/engine.ts'
import { consumerKeys, QUEUE_GROUP } from '../delivery/consumer-records.ts'
import { DeadLetterBox } from '../delivery/dead-letter-box.ts'
import { type Boxed, oldestFirst, sharesOf } from '../delivery/oldest-first.ts'
import { rewindable } from '../delivery/rewindable.ts'
import { type Group, memberNoteIn, ORDERS } from './group.ts'
import { fold, type JournalState } from './journal-entry.ts'
import { journalIn, journalOf } from './journal-name.ts'
import { letterChannel, lettersOf } from './letter-pages.ts'
import type { ShelfHost } from './letter-shelf.ts'
import { type ChannelEntry, Fenced, type LogBackend } from './log-backend.ts'
import { OwnedPartition, type SharedHost } from './owned-partition.ts'
import { Ownership, type OwnershipHost } from './ownership.ts'
import type { PartitionLog } from './partition-log.ts'
import type { Pauses } from './pauses.ts'
import { positionIn } from './reading.ts'
import type { Registry } from './registry.ts'

const ORDERS_MS = 60_000
const TRIES = 20
/** Before the second try, at most; before others longer. */
const AGAIN_MS = 5

export interface InterventionHost {
  readonly pauses: Pauses
  readonly backend: LogBackend
  readonly clock: Clock
  readonly registry: Registry
  readonly groups: ReadonlyMap<string, Group>
  readonly shared: SharedHost
  readonly own: OwnershipHost
  readonly shelf: ShelfHost
  log(entry: ChannelEntry, partition: number): PartitionLog
}

/** One journal of a consumer. */
export interface Place {
  readonly journal: string
  /** The name its records begin with: the consumer's, or the queue workers'. */
  readonly group: string
  /** The name of the group of members. */
  readonly groupId: string
  readonly entry: ChannelEntry
  readonly partition: number
}

export class Interventions {
  readonly #host: InterventionHost
  /** Orders given: no two are alike. */
  #orders = 0

  constructor(host: InterventionHost) {
    this.#host = host
  }

  /** The journals of a consumer: of streams its own, of queues those it has worked on. @throws UNKNOWN_CONSUMER */
  async #places(consumer: string): Promise<Place[]> {
    const found = await placesOf(this.#host.backend, this.#host.registry.all, consumer)
    if (found.length === 0) throw new MillraceError('UNKNOWN_CONSUMER', `no consumer "${consumer}" has been started on this broker`, { consumer })
    return found
  }

  #owned({ journal, groupId }: Place): OwnedPartition | undefined {
    const owned = this.#host.groups.get(groupId)?.owned.get(journal)
    return owned === undefined || owned.ownership.over ? undefined : owned
  }

  async #folded(journal: string): Promise<JournalState> {
    return fold((await this.#host.backend.readJournal(journal)).entries)
  }

  async #boxes(places: readonly Place[]): Promise<Boxed<Place>[]> {
    const boxes: Boxed<Place>[] = []
    for (const place of places) {
      await this.#owned(place)
        ?.ownership.flushed()
        .catch(() => undefined)
      // What was lost meanwhile is no longer to be read here.
      boxes.push([place, this.#owned(place)?.cursor.box ?? boxOf(await this.#folded(place.journal), place, this.#host.backend)])
    }
    return boxes
  }

  async deadLetters(consumer: string, query: DeadLetterQuery): Promise<DeadLetter[]> {
    const letters: DeadLetter[] = []
    const boxes = await this.#boxes(await this.#places(consumer))
    for await (const [, letter] of oldestFirst(boxes, consumer, { ...query, limit: query.limit ?? DEAD_LETTERS_MAX })) letters.push(letter)
    return letters
  }

  async settle(consumer: string, query: DeadLetterQuery, how: 'redrive' | 'drop'): Promise<number> {
    let count = 0
    const places = (await this.#places(consumer)).filter(({ entry }) => query.channel === undefined || query.channel === entry.spec.name)
    for (const [place, limit] of await this.#shares(places, consumer, query)) {
      await this.within(place, async ({ cursor }) => {
        const settled = await cursor.box[how](consumer, query.limit === undefined ? query : { ...query, limit })
        count += settled.count
        cursor.wake(settled.keys)
        this.#host.groups.get(place.groupId)?.pump(place.entry.spec.name)
      })
    }
    if (count === 0 && (query.offset !== undefined || query.id !== undefined)) {
      const which = query.id ?? `at offset ${query.offset}`
      throw new MillraceError('UNKNOWN_DEAD_LETTER', `consumer "${consumer}" has no dead letter ${which}`, { consumer, ...query })
    }
    return count
  }

  /** The places that have dead letters that a query is about: with a limit, how many each has of the oldest of all. */
  async #shares(places: readonly Place[], consumer: string, query: DeadLetterQuery): Promise<ReadonlyMap<Place, number>> {
    const boxes = await this.#boxes(places)
    if (query.limit !== undefined) return sharesOf(boxes, consumer, query)
    const shares = new Map<Place, number>()
    for (const [place, box] of boxes) for await (const _ of box.offsets(consumer, { ...query, limit: 1 })) shares.set(place, 1)
    return shares
  }

  /** Pause a consumer as a whole, or let it go on: its members are told, and see to it within a look. */
  async setPause(consumer: string, pause: ConsumerPause | null): Promise<void> {
    const groups = new Set((await this.#places(consumer)).map(({ groupId }) => groupId))
    await this.#host.pauses.set(consumer, pause)
    await Promise.all([...groups].map((groupId) => this.#order(groupId)))
  }

  async rewind(consumer: string, to: Position, channel: string | null): Promise<void> {
    const places = rewindable(await this.#places(consumer), ({ entry }) => entry.spec, { consumer, channel, declared: this.#host.registry.names })
    const targets: [Place, number][] = []
    for (const place of places) targets.push([place, await positionIn(this.#host.backend, place.entry.spec.name, place.partition, to)])
    for (const [place, offset] of targets) {
      await this.within(place, async ({ cursor, ownership }) => {
        cursor.rewind(offset)
        await ownership.flushed()
      })
    }
  }

  async removeConsumer(consumer: string, running: boolean): Promise<void> {
    const places = await this.#places(consumer)
    const others = running ? 1 : [...(await this.#host.backend.members(consumer)).values()].filter((text) => memberNoteIn(text) !== null).length
    if (others > 0) throw new MillraceError('INVALID_OPTION', `consumer "${consumer}" is running: stop it before removing it`, { consumer })
    for (const place of places) {
      if (place.group !== QUEUE_GROUP) {
        await this.#host.backend.removeJournal(place.journal)
        await this.#forgetLetters(consumer, place.entry.spec.name)
      } else {
        await this.within(place, async ({ cursor, ownership }) => {
          await cursor.box.drop(consumer, {})
          ownership.write(`w/${consumer}`, null)
          await ownership.flushed()
        })
      }
    }
    await this.#host.pauses.set(consumer, null)
  }

  /** The channel is gone: so is what consumers have settled in it. */
  async forgetChannel(channel: string): Promise<void> {
    for (const journal of await this.#host.backend.journals('')) {
      const [group = '', of] = journal.split('/')
      if (of !== channel) continue
      await this.#host.backend.removeJournal(journal)
      await this.#forgetLetters(group, channel)
    }
    for (const { id } of this.#host.groups.values()) await this.#order(id)
  }

  async #forgetLetters(group: string, channel: string): Promise<void> {
    const name = letterChannel(group, channel)
    if (this.#host.registry.find(name) === undefined) return
    await this.#host.backend.removeChannel(name)
    await this.#host.registry.look()
  }

  /** Change a partition: as its owner, or as one who takes it for a moment. */
  async within(place: Place, change: (owned: OwnedPartition) => Promise<void>): Promise<void> {
    for (let tries = 1; ; tries++) {
      try {
        const owned = this.#owned(place)
        if (owned !== undefined) await change(owned)
        else await this.#borrow(place, change)
        return
      } catch (error) {
        if (!(error instanceof Fenced)) throw error
        if (tries === TRIES) throw contended(place)
        // Others that do the same go first, or next.
        await pause(this.#host.clock, Math.random() * AGAIN_MS * tries)
      }
    }
  }

  async #borrow({ journal, group, groupId, entry, partition }: Place, change: (owned: OwnedPartition) => Promise<void>): Promise<void> {
    const { backend, own, shared, shelf } = this.#host
    const members = await backend.members(groupId)
    let alive = false
    const ownership = await Ownership.claim(journal, own, ({ owner, released }) => {
      alive = owner !== null && !released && members.has(owner)
      return true
    })
    if (ownership === null) return
    // Whoever is fenced lives: what it has in hands has not killed it.
    if (alive) ownership.write(consumerKeys.inFlight(group, partition), null)
    const log = this.#host.log(entry, partition)
    const from = (): Promise<number> => positionIn(backend, entry.spec.name, partition, { at: 'beginning' })
    const owned = await OwnedPartition.begin(group, ownership, log, shared, shelf, from, () => undefined)
    try {
      await change(owned)
    } finally {
      await owned.release()
      if (alive) await this.#order(groupId)
    }
  }

  /** Tell a group's members to see whether their partitions are still theirs. */
  async #order(groupId: string): Promise<void> {
    await this.#host.backend.beat(groupId, ORDERS, `${this.#host.own.member}/${++this.#orders}`, ORDERS_MS)
    await this.#host.groups.get(groupId)?.tick()
  }
}

function contended({ entry: { spec } }: Place): MillraceError {
  const message = `other processes took channel "${spec.name}" each time before the change was stored: try again`
  return new MillraceError('UNAVAILABLE', message, { channel: spec.name })
}

/** Every journal of a consumer, or of all. */
export async function placesOf(backend: LogBackend, entries: readonly ChannelEntry[], consumer: string): Promise<Place[]> {
  const byName = new Map(entries.map((entry) => [entry.spec.name, entry]))
  const own = (await backend.journals(`${consumer}/`)).flatMap((journal) => {
    const named = journalIn(journal, (channel) => byName.get(channel))
    return named === null || named.entry.spec.kind !== 'stream' ? [] : [{ ...named, journal, groupId: consumer }]
  })
  const queues: Place[] = []
  for (const entry of entries) {
    if (entry.spec.kind !== 'queue') continue
    const all = Array.from({ length: entry.partitions }, (_, partition) => ({
      journal: journalOf(QUEUE_GROUP, entry.spec.name, partition),
      group: QUEUE_GROUP,
      groupId: `${QUEUE_GROUP}/${entry.spec.name}`,
      entry,
      partition,
    }))
    for (const place of all) {
      const { entries: content } = await backend.readJournal(place.journal)
      if (fold(content).records.has(`w/${consumer}`)) queues.push(place)
    }
  }
  return [...own, ...queues]
}

/** The dead letters of a journal, to look at. */
export function boxOf(
  { records }: JournalState,
  { group, entry, partition }: Pick<Place, 'group' | 'entry' | 'partition'>,
  backend: LogBackend,
): DeadLetterBox {
  const channel = entry.spec.name
  const get = (key: string): Uint8Array | undefined => records.get(key)
  return new DeadLetterBox({
    ...{ group, channelId: partition, channel, get },
    range: (from, to, limit) => records.range(from, to, limit),
    write: () => undefined,
    flushed: () => Promise.resolve(),
    letters: lettersOf(backend, group, channel, partition, get),
  })
}
