/**
 * What exists: channels, the topics of consumer logs, and the floors of queues. One compacted topic, folded by every
 * process.
 *
 * If two processes create a channel, the first record in the topic counts. Compaction keeps the last record of a key,
 * so the second process writes the first one's record again.
 */
import { hash } from 'node:crypto'
import { isNumberFrom } from '../../base/json-object.ts'
import { channelEntryIn, damagedEntry } from '../../external-log/channel-entry.ts'
import type { ChannelEntry } from '../../external-log/log-backend.ts'
import type { KafkaClient } from './client.ts'
import { type LogFold, type LogRecord, TopicLog } from './topic-log.ts'

const CHANNEL = 'channel/'
const CONSUMER_LOG = 'journal/'
const FLOORS = 'floors/'

/**
 * A change takes effect only if the channel is as the change says. So of two changes at once, the first in the topic
 * counts.
 */
interface Change extends ChannelEntry {
  readonly replaces?: string
}

function sumOf(entry: ChannelEntry): string {
  return hash('sha256', JSON.stringify(entry))
}

export class RegistryTopic implements LogFold {
  readonly #log: TopicLog
  readonly #channels = new Map<string, ChannelEntry>()
  readonly #consumerLogs = new Set<string>()
  /** By incarnation: the offset below which each partition of a queue is settled. */
  readonly #floors = new Map<string, number[]>()
  readonly #damaged: (message: string) => void

  /** `damaged` is called for records of other clients. They are ignored. */
  constructor(client: KafkaClient, topic: string, damaged: (message: string) => void) {
    this.#damaged = damaged
    this.#log = new TopicLog(client, topic, 'notes', this)
  }

  look(): Promise<void> {
    return this.#log.catchUp()
  }

  get channels(): readonly ChannelEntry[] {
    return [...this.#channels.values()]
  }

  channel(name: string): ChannelEntry | undefined {
    return this.#channels.get(name)
  }

  /** Groups that have a topic for their consumer logs. */
  get consumerLogs(): ReadonlySet<string> {
    return this.#consumerLogs
  }

  floors(incarnation: string): readonly number[] {
    return this.#floors.get(incarnation) ?? []
  }

  async create(entry: ChannelEntry): Promise<void> {
    await this.#put(`${CHANNEL}${entry.spec.name}`, entry, 'create')
    const first = this.#channels.get(entry.spec.name)
    if (first !== undefined && first.incarnation !== entry.incarnation) await this.update(first, first)
  }

  /** Change a channel if it is still as it was read. Answers whether it was. */
  async update(entry: ChannelEntry, before: ChannelEntry): Promise<boolean> {
    const { name } = entry.spec
    for (let [written, replaced] = [entry, before]; ; ) {
      await this.#put(`${CHANNEL}${name}`, { ...written, replaces: sumOf(replaced) } satisfies Change, 'update')
      const known = this.#channels.get(name)
      if (known === undefined) return false
      // Compaction keeps the last record of a key, so the valid record is written again.
      if (sumOf(known) === sumOf(written)) return written === entry
      written = known
      replaced = known
    }
  }

  async remove({ spec, incarnation }: ChannelEntry): Promise<void> {
    await this.#log.write(`${CHANNEL}${spec.name}`, null, incarnation)
    if (this.#floors.has(incarnation)) await this.#log.write(`${FLOORS}${incarnation}`, null, '')
  }

  addConsumerLog(group: string): Promise<void> {
    return this.#put(`${CONSUMER_LOG}${group}`, {}, '')
  }

  /** The events below these offsets are settled, by partition. Floors only rise. */
  raise(incarnation: string, floors: readonly number[]): Promise<void> {
    return this.#put(`${FLOORS}${incarnation}`, floors, '')
  }

  #put(key: string, value: unknown, mark: string): Promise<void> {
    return this.#log.write(key, Buffer.from(JSON.stringify(value)), mark)
  }

  reset(): void {
    this.#channels.clear()
    this.#consumerLogs.clear()
    this.#floors.clear()
  }

  apply({ offset, key, value, mark }: LogRecord): void {
    if (key.startsWith(CHANNEL)) this.#applyChannel(offset, key.slice(CHANNEL.length), value, mark)
    else if (key.startsWith(CONSUMER_LOG) && value !== null) this.#consumerLogs.add(key.slice(CONSUMER_LOG.length))
    else if (key.startsWith(FLOORS)) this.#applyFloors(offset, key.slice(FLOORS.length), value)
  }

  #applyChannel(offset: number, name: string, value: Buffer | null, mark: string): void {
    const known = this.#channels.get(name)
    if (value === null) {
      if (known?.incarnation === mark || mark === '') this.#channels.delete(name)
      return
    }
    const record: Change | null = channelEntryIn(value.toString())
    if (record === null || record.spec.name !== name) {
      this.#damaged(damagedEntry('kafka', this.#where(offset)))
      return
    }
    const { replaces, ...entry } = record
    const follows =
      mark === 'update' &&
      known?.incarnation === entry.incarnation &&
      (replaces === undefined || replaces === sumOf(known))
    if (known === undefined || follows) this.#channels.set(name, entry)
  }

  #where(offset: number): string {
    return `offset ${offset} of topic ${this.#log.topic}`
  }

  #applyFloors(offset: number, incarnation: string, value: Buffer | null): void {
    if (value === null) {
      this.#floors.delete(incarnation)
      return
    }
    const before = this.#floors.get(incarnation) ?? []
    const floors = floorsIn(value.toString())
    if (floors === null)
      this.#damaged(`kafka: ${this.#where(offset)} does not hold the floors of a queue, and is ignored`)
    else
      this.#floors.set(
        incarnation,
        floors.map((floor, partition) => Math.max(floor, before[partition] ?? 0)),
      )
  }
}

function floorsIn(text: string): readonly number[] | null {
  try {
    const floors: unknown = JSON.parse(text)
    return Array.isArray(floors) && floors.every((floor) => isNumberFrom(floor, 0)) ? floors : null
  } catch {
    return null
  }
}
