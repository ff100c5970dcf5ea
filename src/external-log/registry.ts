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
import { firstSpec } from '../channel/merged-spec.ts'
import { redeclared } from '../compatibility/redeclared.ts'
import { CHANNEL_FORMAT, foreignFormat, isCurrent } from './channel-entry.ts'
import type { ChannelEntry, LogBackend } from './log-backend.ts'

const LOOK_MS = 1000
/** A list of channels that is younger than this is not asked for again. */
const FRESH_MS = 100
/** The number of tries of a declaration while other processes change the channel. */
const DECLARE_TRIES = 100

interface Turn {
  readonly turn: number
  readonly atMs: number
}

export class Registry {
  readonly #backend: LogBackend
  readonly #partitions: number
  readonly #clock: Clock
  /** Called with channels that are new, and with names of channels that are gone. */
  readonly #changed: (added: readonly ChannelEntry[], gone: readonly string[]) => void
  readonly #entries = new Map<string, ChannelEntry>()
  /** Channels that another version of Millrace created. This engine does not touch them. */
  readonly #foreign = new Map<string, ChannelEntry>()
  #endWatch: () => void = () => undefined
  readonly #looking = new OneAtATime(() => this.#look())
  readonly #lookingAt = new Map<string, OneAtATime>()
  /** The number of questions to the servers, and of changes that this process knows without a question. */
  #turn = 0
  /** The turn and the time of the last look at all channels. */
  #lookedAt: Turn = { turn: 0, atMs: Number.NEGATIVE_INFINITY }
  /** The same by channel, for turns after the last look at all channels. */
  readonly #knownSince = new Map<string, Turn>()

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
    if (!this.#entries.has(name)) await this.lookAt(name)
    return this.known(name)
  }

  /** Ask the servers about a channel, unless it is known and was asked for a moment ago. */
  async fresh(name: string): Promise<void> {
    const { atMs } = this.#knownSince.get(name) ?? this.#lookedAt
    if (!this.#entries.has(name) || this.#clock.elapsed() - atMs > FRESH_MS) await this.lookAt(name)
  }

  /** Ask the servers which channels exist. */
  look(): Promise<void> {
    return this.#looking.ask()
  }

  /** Ask the servers about one channel. The cost does not depend on the number of channels. */
  async lookAt(name: string): Promise<void> {
    let looking = this.#lookingAt.get(name)
    if (looking === undefined) {
      looking = new OneAtATime(() => this.#lookAt(name))
      this.#lookingAt.set(name, looking)
    }
    try {
      await looking.ask()
    } finally {
      if (!looking.running) this.#lookingAt.delete(name)
    }
  }

  async #look(): Promise<void> {
    const turn = ++this.#turn
    const found = new Map((await this.#backend.channels()).map((entry) => [entry.spec.name, entry]))
    const names = new Set([...this.#entries.keys(), ...this.#foreign.keys(), ...found.keys()])
    // What was asked for later, or changed meanwhile, is known better.
    const asked = [...names].filter((name) => (this.#knownSince.get(name)?.turn ?? 0) < turn)
    for (const [name, known] of this.#knownSince) if (known.turn < turn) this.#knownSince.delete(name)
    this.#lookedAt = { turn, atMs: this.#clock.elapsed() }
    this.#learn(asked.map((name) => [name, found.get(name) ?? null]))
  }

  async #lookAt(name: string): Promise<void> {
    const turn = ++this.#turn
    const found = await this.#backend.channel(name)
    if ((this.#knownSince.get(name) ?? this.#lookedAt).turn > turn) return
    this.#knownSince.set(name, { turn, atMs: this.#clock.elapsed() })
    this.#learn([[name, found]])
  }

  /** These channels are registered so, or not registered (null). */
  #learn(channels: readonly (readonly [name: string, entry: ChannelEntry | null])[]): void {
    const added: ChannelEntry[] = []
    const gone: string[] = []
    for (const [name, entry] of channels) {
      const before = this.#entries.get(name)
      const now = entry !== null && isCurrent(entry) ? entry : undefined
      if (now === undefined) this.#entries.delete(name)
      else this.#entries.set(name, now)
      if (entry === null || now !== undefined) this.#foreign.delete(name)
      else this.#foreign.set(name, entry)
      if (before?.incarnation === now?.incarnation) continue
      if (before !== undefined) gone.push(name)
      if (now !== undefined) added.push(now)
    }
    if (added.length > 0 || gone.length > 0) this.#changed(added, gone)
  }

  /** What this process knows of the channel now is newer than the answers to questions that are under way. */
  #knowNow(name: string): void {
    this.#knownSince.set(name, { turn: ++this.#turn, atMs: this.#clock.elapsed() })
  }

  /** @throws DATA_FOREIGN */
  #checkFormat(name: string): void {
    const foreign = this.#foreign.get(name)
    if (foreign !== undefined) throw foreignFormat(foreign)
  }

  /** Whether the servers have no channel of this name, of whatever version. */
  isGone(name: string): boolean {
    return !this.#entries.has(name) && !this.#foreign.has(name)
  }

  /** The servers have answered that the channel does not exist. */
  forget(name: string): void {
    this.#knowNow(name)
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
   * @throws CHANNEL_CONFLICT · INCOMPATIBLE_SCHEMA · DATA_FOREIGN
   */
  async declare(spec: ChannelSpec, partitions: number = this.#partitions): Promise<void> {
    const { name } = spec
    await this.fresh(name)
    for (let tries = 1; tries <= DECLARE_TRIES; tries++) {
      this.#checkFormat(name)
      const existing = this.#entries.get(name)
      if (existing === undefined)
        await this.#backend.createChannel({
          format: CHANNEL_FORMAT,
          incarnation: randomUUID(),
          spec: firstSpec(spec),
          partitions,
        })
      else {
        const merged = redeclared(existing.spec, spec)
        if (merged === existing.spec) return
        const changed = { ...existing, spec: merged }
        if (await this.#updated(changed, existing)) {
          this.#knowNow(name)
          this.#entries.set(name, changed)
          return
        }
      }
      // Another process may have been faster, with a different declaration.
      await this.lookAt(name)
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
