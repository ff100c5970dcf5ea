/**
 * The channels that exist, as this engine knows them: looked up again now and then, and when a name is not known.
 *
 * Entries whose name begins with `~` are this room's own and are shown to nobody.
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
/** What was seen so lately need not be looked at again. */
const FRESH_MS = 100
/** How often a declaration is tried that others get ahead of. */
const DECLARE_TRIES = 100

export class Registry {
  readonly #backend: LogBackend
  readonly #partitions: number
  readonly #clock: Clock
  /** Told of channels that were not there before, and of names that are gone. */
  readonly #changed: (added: readonly ChannelEntry[], gone: readonly string[]) => void
  #entries = new Map<string, ChannelEntry>()
  /** Channels that another version of Millrace created. Nothing is done with them. */
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

  /** Those that people see. */
  get shown(): ChannelEntry[] {
    return this.all.filter(({ spec }) => !spec.name.startsWith('~'))
  }

  /** Names of those that people see. */
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

  /** A channel that may have been declared by somebody else a moment ago. @throws UNKNOWN_CHANNEL · DATA_FOREIGN */
  async current(name: string): Promise<ChannelEntry> {
    if (!this.#entries.has(name)) await this.look()
    return this.known(name)
  }

  /** Look, where the channel is not known, or was not looked at lately. */
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

  /** The servers say that there is no such channel. */
  forget(name: string): void {
    if (this.#entries.delete(name)) this.#changed([], [name])
  }

  /** Look now and then, so that channels of others are found. */
  watch(alarm: (error: unknown) => void): void {
    this.#endWatch = every(this.#clock, LOOK_MS, () => void this.look().catch(alarm))
  }

  close(): void {
    this.#endWatch()
  }

  /**
   * Create the channel, or make it agree with what exists. Others may do so at once: a change is made to what was read, or not at all.
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
      // Somebody may have been faster, with another idea of it.
      await this.look()
    }
    throw new MillraceError('UNAVAILABLE', `other processes keep changing channel "${name}": declare it again later`, {
      channel: name,
    })
  }

  /** Whether the change was made: not where somebody else has changed or removed the channel since it was read. */
  async #updated(changed: ChannelEntry, existing: ChannelEntry): Promise<boolean> {
    try {
      return await this.#backend.updateChannel(changed, existing)
    } catch (error) {
      if (isMillraceError(error, 'UNKNOWN_CHANNEL')) return false
      throw error
    }
  }
}
