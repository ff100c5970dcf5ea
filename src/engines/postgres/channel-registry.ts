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

/** Events that are too old are deleted this share of the kept age later, and at most this much. */
const AGE_SHARE = 0.05
const AGE_MS_MAX = 10_000

/** A text for each channel that exists; it changes with each append and each raised floor. */
export type Marks = (channels: readonly string[]) => Promise<ReadonlyMap<string, string>>

export class ChannelRegistry {
  readonly #schema: string
  readonly #link: PostgresLink
  readonly #damaged: (message: string) => void
  /** Channels with limits, and the age that each keeps. */
  #limited: ReadonlyMap<string, number | null> = new Map()
  /** The mark that a channel had when it was looked at last, and when that was. */
  readonly #looked = new Map<string, { readonly mark: string; readonly atMs: number }>()

  /** `damaged` is called for rows that another client wrote. They are ignored. */
  constructor(schema: string, link: PostgresLink, damaged: (message: string) => void) {
    this.#schema = schema
    this.#link = link
    this.#damaged = damaged
  }

  async all(): Promise<readonly ChannelEntry[]> {
    const rows = await this.#link.query(`SELECT name, entry FROM ${this.#schema}.channels`, [], 'listing channels')
    const entries = rows.flatMap(([name, text]) => this.#entryIn(name as string, text as string) ?? [])
    const limited = entries.filter(({ spec }) => isLimited(spec))
    this.#limited = new Map(limited.map(({ spec }) => [spec.name, spec.retain.ageMs]))
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
   * Delete what retention does not keep, in channels with limits and in the others given. A channel that has not
   * changed is not looked at, unless its events grow too old. A failure is repeated with the next call.
   */
  async retain(others: readonly string[], marks: Marks, failures: LastingFailures): Promise<void> {
    const names = [...new Set([...this.#limited.keys(), ...others])]
    if (names.length === 0) return
    const found = await marks(names).catch(() => null)
    // The server is away: whoever needs it says so.
    if (found === null) return
    for (const name of names) {
      const mark = found.get(name)
      if (mark === undefined) this.#looked.delete(name)
      else if (this.#isDue(name, mark) && (await this.#kept(`channel "${name}"`, 'retain($1)', [name], failures)))
        this.#looked.set(name, { mark, atMs: performance.now() })
    }
  }

  #isDue(name: string, mark: string): boolean {
    const looked = this.#looked.get(name)
    if (looked === undefined || looked.mark !== mark) return true
    const ageMs = this.#limited.get(name) ?? null
    return ageMs !== null && performance.now() - looked.atMs >= Math.min(ageMs * AGE_SHARE, AGE_MS_MAX)
  }

  /** Drop the tables of removed channels. */
  async sweep(failures: LastingFailures): Promise<void> {
    await this.#kept('removed channels', 'sweep()', [], failures)
  }

  /** Whether it was done. */
  async #kept(what: string, call: string, values: readonly Value[], failures: LastingFailures): Promise<boolean> {
    try {
      await this.#link.query(`SELECT ${this.#schema}.${call}`, values, 'deleting what retention does not keep')
      failures.succeeded(what)
      return true
    } catch (error) {
      failures.failed(what, error)
      return false
    }
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
