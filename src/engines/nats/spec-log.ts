/**
 * Changes of channels' specs, one after the other. JetStream changes the configuration of a stream without a condition:
 * of two processes that read, merge and write at once, one would undo the change of the other. A consumer log has a
 * condition. So a change is written there first, and then the stream gets the last one.
 */
import { channelEntryIn } from '../../external-log/channel-entry.ts'
import { type ChannelEntry, Fenced } from '../../external-log/log-backend.ts'
import type { ConsumerLogSubjects } from './consumer-log-subjects.ts'

/** The prefix of the consumer logs in which changes of channels' specs are written. They belong to no consumer. */
export const SPECS = '~spec/'

export class SpecLog {
  readonly #consumerLogs: ConsumerLogSubjects
  readonly #apply: (entry: ChannelEntry) => Promise<void>

  constructor(consumerLogs: ConsumerLogSubjects, apply: (entry: ChannelEntry) => Promise<void>) {
    this.#consumerLogs = consumerLogs
    this.#apply = apply
  }

  /** Change a channel if it is still as it was read. Answers whether it was. */
  async change(entry: ChannelEntry, before: ChannelEntry): Promise<boolean> {
    const id = idOf(entry)
    const there = await this.#last(id)
    if (there.entry !== null && JSON.stringify(there.entry) !== JSON.stringify(before)) {
      // The process that wrote the change may have died before it changed the stream.
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
    // A later change of another process may have reached the stream before this one.
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
