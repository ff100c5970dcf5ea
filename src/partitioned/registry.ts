/**
 * The channels that exist, as this engine knows them: looked up again now and then, and when a name is not known.
 *
 * Entries whose name begins with `~` are this room's own and are shown to nobody.
 */
import { randomUUID } from 'node:crypto'
import type { ChannelSpec } from '../channel/channel.ts'
import { unknownChannel } from '../channel/channel-errors.ts'
import { mergedSpec } from '../channel/merged-spec.ts'
import type { ChannelEntry, LogBackend } from './log-backend.ts'

const LOOK_MS = 1000

export class Registry {
  readonly #backend: LogBackend
  readonly #partitions: number
  /** Told of channels that were not there before, and of names that are gone. */
  readonly #changed: (added: readonly ChannelEntry[], gone: readonly string[]) => void
  #entries = new Map<string, ChannelEntry>()
  #timer: NodeJS.Timeout | null = null
  #looking: Promise<void> | null = null

  constructor(backend: LogBackend, partitions: number, changed: (added: readonly ChannelEntry[], gone: readonly string[]) => void) {
    this.#backend = backend
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

  /** @throws UNKNOWN_CHANNEL */
  known(name: string): ChannelEntry {
    const entry = this.#entries.get(name)
    if (entry !== undefined) return entry
    throw unknownChannel(name, this.names)
  }

  /** A channel that may have been declared by somebody else a moment ago. @throws UNKNOWN_CHANNEL */
  async current(name: string): Promise<ChannelEntry> {
    if (!this.#entries.has(name)) await this.look()
    return this.known(name)
  }

  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = null
    })
    return this.#looking
  }

  async #look(): Promise<void> {
    const before = this.#entries
    const entries = new Map((await this.#backend.channels()).map((entry) => [entry.spec.name, entry]))
    this.#entries = entries
    const added = [...entries.values()].filter(({ spec }) => !before.has(spec.name))
    const gone = [...before.keys()].filter((name) => !entries.has(name))
    if (added.length > 0 || gone.length > 0) this.#changed(added, gone)
  }

  /** Look now and then, so that channels of others are found. */
  watch(alarm: (error: unknown) => void): void {
    this.#timer = setInterval(() => void this.look().catch(alarm), LOOK_MS)
    this.#timer.unref()
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  /** Create the channel, or check that it agrees with what exists. @throws CHANNEL_CONFLICT */
  async declare(spec: ChannelSpec, partitions: number = this.#partitions): Promise<void> {
    if (!this.#entries.has(spec.name)) await this.look()
    const existing = this.#entries.get(spec.name)
    if (existing === undefined) {
      await this.#backend.createChannel({ incarnation: randomUUID(), spec, partitions })
      await this.#look()
      // Somebody may have been faster, with another idea of it.
      if (this.#entries.has(spec.name)) await this.#reconcile(this.known(spec.name), spec)
    } else await this.#reconcile(existing, spec)
  }

  async #reconcile(existing: ChannelEntry, spec: ChannelSpec): Promise<void> {
    const merged = mergedSpec(existing.spec, spec)
    if (merged === existing.spec) return
    const changed = { ...existing, spec: merged }
    await this.#backend.updateChannel(changed)
    this.#entries.set(spec.name, changed)
  }
}
