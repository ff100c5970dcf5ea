/**
 * The channels that exist, with what the scripts need to know about each, and the work that deletes what retention does
 * not keep.
 */
import type { LastingFailures } from '../../base/lasting-failures.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { channelEntryIn, damagedEntry, isCurrent } from '../../external-log/channel-entry.ts'
import type { ChannelEntry } from '../../external-log/log-backend.ts'
import { named } from './event-streams.ts'
import type { Keys } from './keys.ts'
import type { Argument } from './redis-client.ts'
import type { RedisLink } from './redis-link.ts'
import type { SafeWrites } from './safe-writes.ts'
import { CREATE, REMOVE, RETAIN, UPDATE } from './scripts.ts'

/** The window of ids of emissions into channels without deduplication. */
const EMITTED = { ageMs: 120_000, count: 100_000 } as const

export class ChannelRegistry {
  readonly #keys: Keys
  readonly #sender: string
  readonly #link: RedisLink
  readonly #writes: SafeWrites
  readonly #damaged: (message: string) => void
  #entries = new Map<string, ChannelEntry>()

  /** `damaged` is called for fields that another client wrote. They are ignored. */
  constructor(keys: Keys, sender: string, link: RedisLink, writes: SafeWrites, damaged: (message: string) => void) {
    this.#damaged = damaged
    this.#keys = keys
    this.#sender = sender
    this.#link = link
    this.#writes = writes
  }

  async all(): Promise<readonly ChannelEntry[]> {
    const fields = (await this.#link.call(['HGETALL', this.#keys.channels], 'listing channels')) as string[]
    const entries: ChannelEntry[] = []
    for (let at = 0; at + 1 < fields.length; at += 2) {
      const entry = this.#entryIn(fields[at] as string, fields[at + 1] as string)
      if (entry !== null) entries.push(entry)
    }
    this.#entries = new Map(entries.map((entry) => [entry.spec.name, entry]))
    return entries
  }

  /** One channel, as the server knows it now. */
  async look(name: string): Promise<ChannelEntry | null> {
    const text = (await this.#link.call(['HGET', this.#keys.channels, name], 'looking at a channel')) as string | null
    const entry = text === null ? null : this.#entryIn(name, text)
    if (entry === null) this.#entries.delete(name)
    else this.#entries.set(name, entry)
    return entry
  }

  #entryIn(name: string, text: string): ChannelEntry | null {
    const entry = channelEntryIn(text)
    if (entry !== null && entry.spec.name === name) return entry
    this.#damaged(damagedEntry('redis', `field "${name}" of ${this.#keys.channels}`))
    return null
  }

  known(name: string): { readonly partitions: number; readonly dedupes: boolean } | undefined {
    const entry = this.#entries.get(name)
    return entry === undefined || !isCurrent(entry)
      ? undefined
      : { partitions: entry.partitions, dedupes: entry.spec.dedupe !== null }
  }

  /** 0 if the channel is gone. */
  async partitions(name: string): Promise<number> {
    if (!this.#entries.has(name)) await this.all()
    return this.#entries.get(name)?.partitions ?? 0
  }

  async create(entry: ChannelEntry): Promise<void> {
    await this.#writes.run(
      CREATE,
      this.#keysOf(entry),
      this.#args(entry),
      `creating channel "${entry.spec.name}"`,
      true,
    )
  }

  /** Answers whether the channel was still as it was read. */
  async update(entry: ChannelEntry, before: ChannelEntry): Promise<boolean> {
    const { name } = entry.spec
    const [base, channel, text, ...rest] = this.#args(entry)
    const args = [base, channel, text, JSON.stringify(before), ...rest] as readonly Argument[]
    return (
      (await named(name, this.#writes.run(UPDATE, this.#keysOf(entry), args, `changing channel "${name}"`, true))) === 1
    )
  }

  async remove(name: string): Promise<void> {
    const args = [this.#keys.base, name, this.#sender]
    await this.#writes.run(
      REMOVE,
      [this.#keys.channel(name), this.#keys.channels],
      args,
      `removing channel "${name}"`,
      true,
    )
  }

  #keysOf({ spec }: ChannelEntry): readonly string[] {
    return [this.#keys.channel(spec.name), this.#keys.channels]
  }

  #args(entry: ChannelEntry): readonly Argument[] {
    const { name, retain, dedupe } = entry.spec
    const window = dedupe ?? EMITTED
    return [
      this.#keys.base,
      name,
      JSON.stringify(entry),
      ...[
        'partitions',
        entry.partitions,
        'dedupeAge',
        window.ageMs,
        'dedupeCount',
        window.count,
        'latest',
        retain.latestByKey ? 1 : 0,
      ],
      ...(retain.ageMs === null ? [] : ['keepAge', retain.ageMs]),
      ...(retain.count === null ? [] : ['keepCount', retain.count]),
      ...(retain.bytes === null ? [] : ['keepBytes', retain.bytes]),
    ]
  }

  /** Delete what retention does not keep. A failure is repeated with the next call. */
  async retain(failures: LastingFailures): Promise<void> {
    const limited = [...this.#entries.values()].filter(({ spec }) => isLimited(spec))
    await Promise.all(
      limited.map(({ spec: { name } }) =>
        this.#link.run(RETAIN, [this.#keys.channel(name)], [this.#keys.base, name], 'retaining').then(
          () => failures.succeeded(`channel "${name}"`),
          (error: unknown) => failures.failed(`channel "${name}"`, error),
        ),
      ),
    )
  }
}

function isLimited({ retain }: ChannelSpec): boolean {
  return retain.ageMs !== null || retain.bytes !== null || retain.count !== null
}
