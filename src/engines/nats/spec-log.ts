/**
 * Changes of channels' specs, one after the other. JetStream changes a stream's configuration without a condition, so that of two processes that read,
 * merge and write at once, one would undo the other. A consumer log has a condition: a change is written there first, and then the stream is given what stands last.
 */
import { channelEntryIn } from '../../external-log/channel-entry.ts'
import { type ChannelEntry, Fenced } from '../../external-log/log-backend.ts'
import type { ConsumerLogSubjects } from './consumer-log-subjects.ts'

/** Consumer logs of specs begin with it: they are no consumer's. */
export const SPECS = '~spec/'

export class SpecLog {
  readonly #consumerLogs: ConsumerLogSubjects
  readonly #apply: (entry: ChannelEntry) => Promise<void>

  constructor(consumerLogs: ConsumerLogSubjects, apply: (entry: ChannelEntry) => Promise<void>) {
    this.#consumerLogs = consumerLogs
    this.#apply = apply
  }

  /** Change a channel that is still as it was read. Answers whether it was. */
  async change(entry: ChannelEntry, before: ChannelEntry): Promise<boolean> {
    const id = idOf(entry)
    const there = await this.#last(id)
    if (there.entry !== null && JSON.stringify(there.entry) !== JSON.stringify(before)) {
      // Whoever wrote it may have died before the stream had it.
      await this.#apply(there.entry)
      return false
    }
    let version: number
    try {
      version = await this.#consumerLogs.append(id, there.version, Buffer.from(JSON.stringify(entry)))
    } catch (error) {
      if (error instanceof Fenced) return false
      throw error
    }
    // Another's change may follow this one, and reach the stream before it.
    for (let last = { entry, version }; ; ) {
      await this.#apply(last.entry)
      const newer = await this.#last(id)
      if (newer.entry === null || newer.version === last.version) break
      last = { entry: newer.entry, version: newer.version }
    }
    await this.#consumerLogs.trim(id, version)
    return true
  }

  async forget(entry: ChannelEntry): Promise<void> {
    await this.#consumerLogs.remove(idOf(entry))
  }

  async #last(id: string): Promise<{ readonly entry: ChannelEntry | null; readonly version: number }> {
    const { entries, version } = await this.#consumerLogs.read(id)
    const last = entries.at(-1)
    return { entry: last === undefined ? null : channelEntryIn(Buffer.from(last).toString()), version }
  }
}

function idOf({ incarnation }: ChannelEntry): string {
  return `${SPECS}${incarnation}`
}
