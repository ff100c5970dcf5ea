/**
 * The channels that exist, as this engine knows them. The engine asks the servers regularly, and when it does not know
 * a name.
 *
 * Channels whose names begin with `~` belong to this room and are not shown to people.
 */
import { randomUUID } from 'node:crypto'
import { type Clock, every } from '../base/clock.ts'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { OneAtATime } from '../base/one-at-a-time.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import { unknownChannel } from '../channel/channel-errors.ts'
import { mergedSpec } from '../channel/merged-spec.ts'
import { CHANNEL_FORMAT, foreignFormat, isCurrent } from './channel-entry.ts'
import type { ChannelEntry, LogBackend } from './log-backend.ts'

const LOOK_MS = 1000
/** A list of channels that is younger than this is not asked for again. */
const FRESH_MS = 100
/** The number of tries of a declaration while other processes change the channel. */
const DECLARE_TRIES = 100

export class Registry {
  readonly #backend: LogBackend
  readonly #partitions: number
  readonly #clock: Clock
  /** Called with channels that are new, and with names of channels that are gone. */
  readonly #changed: (added: readonly ChannelEntry[], gone: readonly string[]) => void
  #entries = new Map<string, ChannelEntry>()
  /** Channels that another version of Millrace created. This engine does not touch them. */
  #foreign = new Map<string, ChannelEntry>()
  #endWatch: () => void = () => undefined
  readonly #looking = new OneAtATime(() => this.#look())
  #lookedAtMs = Number.NEGATIVE_INFINITY

  constructor(
    backend: LogBackend,
    clock: Clock,
    partitions: number,
    changed: (added: readonly ChannelEntry[], gone: readonly string[]) => void,
  ) {
    this.#backend = backend
    this.#clock = clock
    this.#partitions = partitions
    this.#changed = changed
  }

  get all(): ChannelEntry[] {
    return [...this.#entries.values()]
  }

  /** The channels that are shown to people. */
  get shown(): ChannelEntry[] {
    return this.all.filter(({ spec }) => !spec.name.startsWith('~'))
  }

  /** Names of the channels that are shown to people. */
  get names(): string[] {
    return this.shown.map(({ spec }) => spec.name)
  }

  find(name: string): ChannelEntry | undefined {
    return this.#entries.get(name)
  }

  /** @throws UNKNOWN_CHANNEL · DATA_FOREIGN */
  known(name: string): ChannelEntry {
    const entry = this.#entries.get(name)
    if (entry !== undefined) return entry
    this.#checkFormat(name)
    throw unknownChannel(name, this.names)
  }

  /** A channel that another process may have declared a moment ago. @throws UNKNOWN_CHANNEL · DATA_FOREIGN */
  async current(name: string): Promise<ChannelEntry> {
    if (!this.#entries.has(name)) await this.look()
    return this.known(name)
  }

  /** Ask the servers, unless the channel is known and the list of channels is fresh. */
  async fresh(name: string): Promise<void> {
    if (!this.#entries.has(name) || this.#clock.elapsed() - this.#lookedAtMs > FRESH_MS) await this.look()
  }

  /** Ask the servers which channels exist. */
  look(): Promise<void> {
    return this.#looking.ask()
  }

  async #look(): Promise<void> {
    const before = this.#entries
    const found = await this.#backend.channels()
    const entries = new Map(found.filter(isCurrent).map((entry) => [entry.spec.name, entry]))
    this.#foreign = new Map(found.filter((entry) => !isCurrent(entry)).map((entry) => [entry.spec.name, entry]))
    this.#entries = entries
    this.#lookedAtMs = this.#clock.elapsed()
    const isSame = ({ spec, incarnation }: ChannelEntry, others: ReadonlyMap<string, ChannelEntry>): boolean =>
      others.get(spec.name)?.incarnation === incarnation
    const added = [...entries.values()].filter((entry) => !isSame(entry, before))
    const gone = [...before.values()].filter((entry) => !isSame(entry, entries)).map(({ spec }) => spec.name)
    if (added.length > 0 || gone.length > 0) this.#changed(added, gone)
  }

  /** @throws DATA_FOREIGN */
  #checkFormat(name: string): void {
    const foreign = this.#foreign.get(name)
    if (foreign !== undefined) throw foreignFormat(foreign)
  }

  /** The servers have answered that the channel does not exist. */
  forget(name: string): void {
    if (this.#entries.delete(name)) this.#changed([], [name])
  }

  /** Ask regularly, to find the channels that other processes create. */
  watch(alarm: (error: unknown) => void): void {
    this.#endWatch = every(this.#clock, LOOK_MS, () => void this.look().catch(alarm))
  }

  close(): void {
    this.#endWatch()
  }

  /**
   * Create the channel, or merge the declaration into the existing channel. Several processes may do so at once: a
   * change is written only if the channel is still as it was read.
   * @throws CHANNEL_CONFLICT · DATA_FOREIGN
   */
  async declare(spec: ChannelSpec, partitions: number = this.#partitions): Promise<void> {
    const { name } = spec
    await this.fresh(name)
    for (let tries = 1; tries <= DECLARE_TRIES; tries++) {
      this.#checkFormat(name)
      const existing = this.#entries.get(name)
      if (existing === undefined)
        await this.#backend.createChannel({ format: CHANNEL_FORMAT, incarnation: randomUUID(), spec, partitions })
      else {
        const merged = mergedSpec(existing.spec, spec)
        if (merged === existing.spec) return
        const changed = { ...existing, spec: merged }
        if (await this.#updated(changed, existing)) return void this.#entries.set(name, changed)
      }
      // Another process may have been faster, with a different declaration.
      await this.look()
    }
    throw new MillraceError('UNAVAILABLE', `other processes keep changing channel "${name}": declare it again later`, {
      channel: name,
    })
  }

  /**
   * Whether the change was written. It is not if another process has changed or removed the channel since it was read.
   */
  async #updated(changed: ChannelEntry, existing: ChannelEntry): Promise<boolean> {
    try {
      return await this.#backend.updateChannel(changed, existing)
    } catch (error) {
      if (isMillraceError(error, 'UNKNOWN_CHANNEL')) return false
      throw error
    }
  }
}
