/** The channels that exist, and the work that deletes what retention does not keep. */
import type { LastingFailures } from '../../base/lasting-failures.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { channelEntryIn, damagedEntry } from '../../external-log/channel-entry.ts'
import type { ChannelEntry } from '../../external-log/log-backend.ts'
import type { Value } from './postgres-client.ts'
import { channelError } from './postgres-errors.ts'
import type { PostgresLink } from './postgres-link.ts'

/** The window of ids of emissions into channels without deduplication. */
const EMITTED = { ageMs: 120_000, count: 100_000 } as const

export class ChannelRegistry {
  readonly #schema: string
  readonly #link: PostgresLink
  readonly #damaged: (message: string) => void
  #limited: readonly string[] = []

  /** `damaged` is called for rows that another client wrote. They are ignored. */
  constructor(schema: string, link: PostgresLink, damaged: (message: string) => void) {
    this.#schema = schema
    this.#link = link
    this.#damaged = damaged
  }

  async all(): Promise<readonly ChannelEntry[]> {
    const rows = await this.#link.query(`SELECT name, entry FROM ${this.#schema}.channels`, [], 'listing channels')
    const entries = rows.flatMap(([name, text]) => this.#entryIn(name as string, text as string) ?? [])
    this.#limited = entries.filter(({ spec }) => isLimited(spec)).map(({ spec }) => spec.name)
    return entries
  }

  /** One channel, as the server knows it now. */
  async look(name: string): Promise<ChannelEntry | null> {
    const text = `SELECT entry FROM ${this.#schema}.channels WHERE name = $1`
    const [row] = await this.#link.query(text, [name], 'looking at a channel')
    return row === undefined ? null : this.#entryIn(name, row[0] as string)
  }

  #entryIn(name: string, text: string): ChannelEntry | null {
    const entry = channelEntryIn(text)
    if (entry !== null && entry.spec.name === name) return entry
    this.#damaged(damagedEntry('postgres', `the row "${name}" of ${this.#schema}.channels`))
    return null
  }

  async create(entry: ChannelEntry): Promise<void> {
    const { name } = entry.spec
    const values = [name, JSON.stringify(entry), entry.partitions, ...limitsOf(entry.spec)]
    const text = `SELECT ${this.#schema}.create_channel($1, $2, $3, $4, $5, $6, $7, $8, $9)`
    await this.#link.query(text, values, `creating channel "${name}"`)
  }

  /** Answers whether the channel was still as it was read. */
  async update(entry: ChannelEntry, before: ChannelEntry): Promise<boolean> {
    const { name } = entry.spec
    const values = [name, JSON.stringify(before), JSON.stringify(entry), ...limitsOf(entry.spec)]
    const text = `SELECT ${this.#schema}.update_channel($1, $2, $3, $4, $5, $6, $7, $8, $9)`
    try {
      // Repeated, it would find its own change and answer that somebody else was faster.
      const [row] = await this.#link.query(text, values, `changing channel "${name}"`, { again: false })
      return row?.[0] === 't'
    } catch (error) {
      throw channelError(error, name)
    }
  }

  async remove(name: string): Promise<void> {
    await this.#link.query(`SELECT ${this.#schema}.remove_channel($1)`, [name], `removing channel "${name}"`)
  }

  /**
   * Delete what retention does not keep, in channels with limits and in the others given. A failure is repeated with the
   * next call.
   */
  async retain(others: Iterable<string>, failures: LastingFailures): Promise<void> {
    for (const name of new Set([...this.#limited, ...others])) {
      await this.#kept(`channel "${name}"`, 'retain($1)', [name], failures)
    }
    await this.#kept('removed channels', 'sweep()', [], failures)
  }

  async #kept(what: string, call: string, values: readonly Value[], failures: LastingFailures): Promise<void> {
    await this.#link.query(`SELECT ${this.#schema}.${call}`, values, 'deleting what retention does not keep').then(
      () => failures.succeeded(what),
      (error: unknown) => failures.failed(what, error),
    )
  }
}

function limitsOf({ retain, dedupe }: ChannelSpec): readonly Value[] {
  const window = dedupe ?? EMITTED
  return [
    whole(window.ageMs),
    whole(window.count),
    retain.latestByKey,
    whole(retain.ageMs),
    whole(retain.count),
    whole(retain.bytes),
  ]
}

function whole(limit: number | null): number | null {
  return limit === null ? null : Math.min(Math.ceil(limit), Number.MAX_SAFE_INTEGER)
}

function isLimited({ retain }: ChannelSpec): boolean {
  return retain.ageMs !== null || retain.bytes !== null || retain.count !== null
}
