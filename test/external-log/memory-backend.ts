/**
 * A server in memory that several engines of one process share, and a backend over it with faults: the simplest
 * implementation of the port.
 */
import { type Clock, pause, systemClock } from '../../src/base/clock.ts'
import { MillraceError } from '../../src/base/errors.ts'
import type { Capabilities } from '../../src/broker/capabilities.ts'
import { memoryCapabilities } from '../../src/engines/embedded/capabilities.ts'
import {
  type Appended,
  type AppendItem,
  type Bounds,
  type ChannelEntry,
  type ConsumerLogContent,
  Fenced,
  type LogBackend,
  type ReadLimit,
  type StoredRecord,
} from '../../src/external-log/log-backend.ts'

interface StoredChannel {
  entry: ChannelEntry
  next: number
  /** Of all partitions, in offset order. */
  records: (StoredRecord & { readonly partition: number })[]
  ids: Map<string, { readonly offset: number; readonly atMs: number }>
  ends: number[]
}

export class MemoryServer {
  readonly channels = new Map<string, StoredChannel>()
  readonly consumerLogs = new Map<string, { version: number; entries: [number, Uint8Array][] }>()
  readonly members = new Map<string, Map<string, string>>()
  /** Until when the note of a member is kept. */
  readonly keptUntil = new Map<string, number>()
  readonly watchers = new Set<readonly [channel: string, tell: (partition: number | null) => void]>()
  /** Told of what has been stored, before anybody else is. */
  onStored: (channel: string, partition: number, record: StoredRecord) => void = () => undefined
  onConsumerLogWritten: (id: string, entry: Uint8Array) => void = () => undefined
}

/**
 * What goes wrong, by call: return an error to throw before the work, or after it (the outcome is then unknown to the
 * caller).
 */
export interface Faults {
  before?(call: string): Error | undefined
  after?(call: string): Error | undefined
  delayMs?: number
  /** The call, and then its answer, wait for this. */
  wait?(call: string): Promise<void> | undefined
}

const refused = { support: 'refused', reason: 'the engine over servers refuses it' } as const

/** What an engine over servers can do, with a server in memory. */
export const servedCapabilities: Capabilities = {
  ...memoryCapabilities,
  1: { support: 'native', reason: 'the server in memory keeps what it has taken' },
  19: refused,
  21: refused,
}

export class MemoryBackend implements LogBackend {
  readonly name = 'memory-log'
  readonly capabilities: Capabilities = servedCapabilities
  readonly limits: LogBackend['limits'] = { batchEvents: 65_536, entryBytes: 2_000_000, keepsTimes: true }
  readonly #server: MemoryServer
  readonly #faults: Faults
  readonly #clock: Clock
  #closed = false

  constructor(server: MemoryServer, faults: Faults = {}, clock: Clock = systemClock) {
    this.#server = server
    this.#faults = faults
    this.#clock = clock
  }

  async #do<T>(call: string, work: () => T): Promise<T> {
    if (this.#closed) throw new MillraceError('CLOSED', 'the backend is closed')
    if (this.#faults.delayMs !== undefined) await pause(this.#clock, this.#faults.delayMs)
    else await (this.#faults.wait?.(call) ?? Promise.resolve())
    const before = this.#faults.before?.(call)
    if (before !== undefined) throw before
    const result = work()
    await this.#faults.wait?.(call)
    const after = this.#faults.after?.(call)
    if (after !== undefined) throw after
    return result
  }

  #channel(name: string): StoredChannel {
    const channel = this.#server.channels.get(name)
    if (channel === undefined) throw new MillraceError('UNKNOWN_CHANNEL', `channel "${name}" does not exist`)
    this.#retain(channel)
    return channel
  }

  #retain(channel: StoredChannel): void {
    const { ageMs, bytes, count, latestByKey } = channel.entry.spec.retain
    const now = this.#clock.now()
    if (ageMs !== null) channel.records = channel.records.filter(({ timeMs }) => now - timeMs <= ageMs)
    if (count !== null) channel.records = channel.records.slice(-count)
    if (bytes !== null) {
      let sum = channel.records.reduce((total, { event }) => total + event.text.length, 0)
      while (sum > bytes && channel.records.length > 0) sum -= channel.records.shift()?.event.text.length ?? 0
    }
    if (latestByKey) {
      const latest = new Map(channel.records.map(({ event, offset }) => [event.key, offset]))
      channel.records = channel.records.filter(
        ({ event, offset }) => event.key === null || latest.get(event.key) === offset,
      )
    }
  }

  channels(): Promise<ChannelEntry[]> {
    return this.#do('channels', () => [...this.#server.channels.values()].map(({ entry }) => entry))
  }

  channel(name: string): Promise<ChannelEntry | null> {
    return this.#do('channel', () => this.#server.channels.get(name)?.entry ?? null)
  }

  createChannel(entry: ChannelEntry): Promise<void> {
    return this.#do('createChannel', () => {
      if (this.#server.channels.has(entry.spec.name)) return
      this.#server.channels.set(entry.spec.name, {
        entry,
        next: 0,
        records: [],
        ids: new Map(),
        ends: Array.from({ length: entry.partitions }, () => 0),
      })
    })
  }

  updateChannel(entry: ChannelEntry, before: ChannelEntry): Promise<boolean> {
    return this.#do('updateChannel', () => {
      const channel = this.#channel(entry.spec.name)
      if (JSON.stringify(channel.entry) !== JSON.stringify(before)) return false
      channel.entry = entry
      return true
    })
  }

  removeChannel(name: string): Promise<void> {
    return this.#do('removeChannel', () => {
      this.#server.channels.delete(name)
      for (const [channel, tell] of this.#server.watchers) if (channel === name) tell(null)
    })
  }

  append(name: string, items: readonly AppendItem[]): Promise<Appended[]> {
    return this.#do('append', () => {
      const channel = this.#channel(name)
      const window = channel.entry.spec.dedupe ?? { ageMs: 120_000, count: 100_000 }
      const answers = items.map(({ partition, event, dedupeId, timeMs }): Appended => {
        const now = this.#clock.now()
        const known = dedupeId === null ? undefined : channel.ids.get(dedupeId)
        if (known !== undefined && now - known.atMs <= window.ageMs) return { offset: known.offset, duplicate: true }
        const offset = channel.next++
        channel.ids.set(event.id, { offset, atMs: timeMs ?? now })
        for (const id of channel.ids.keys()) {
          if (channel.ids.size <= window.count) break
          channel.ids.delete(id)
        }
        const { id, type, key, text } = event
        const record = { offset, timeMs: timeMs ?? now, event: { id, type, key, text }, partition }
        channel.records.push(record)
        this.#server.onStored(name, partition, record)
        channel.ends[partition] = offset + 1
        return { offset, duplicate: false }
      })
      for (const [watched, tell] of [...this.#server.watchers]) if (watched === name) queueMicrotask(() => tell(null))
      return answers
    })
  }

  known(name: string, ids: readonly string[]): Promise<Map<string, number>> {
    return this.#do('known', () => {
      const channel = this.#channel(name)
      const youngerThan = this.#clock.now() - (channel.entry.spec.dedupe?.ageMs ?? 0)
      const found = new Map<string, number>()
      for (const id of ids) {
        const known = channel.ids.get(id)
        if (known !== undefined && known.atMs >= youngerThan) found.set(id, known.offset)
      }
      return found
    })
  }

  read(name: string, partition: number | null, from: number, limit: ReadLimit): Promise<StoredRecord[]> {
    return this.#do('read', () => {
      const { records } = this.#channel(name)
      const found: StoredRecord[] = []
      let bytes = 0
      for (const record of records) {
        if (record.offset < from || (partition !== null && record.partition !== partition)) continue
        if (found.length >= limit.count || bytes >= limit.bytes) break
        found.push(record)
        bytes += record.event.text.length
      }
      return found
    })
  }

  bounds(name: string, partition: number | null): Promise<Bounds> {
    return this.#do('bounds', () => {
      const channel = this.#channel(name)
      const next = partition === null ? channel.next : (channel.ends[partition] ?? 0)
      const first = channel.records.find((record) => partition === null || record.partition === partition)
      return { first: first?.offset ?? next, next }
    })
  }

  seek(name: string, partition: number | null, timeMs: number): Promise<number> {
    return this.#do('seek', () => {
      const channel = this.#channel(name)
      const found = channel.records.find(
        (record) => record.timeMs >= timeMs && (partition === null || record.partition === partition),
      )
      return found?.offset ?? (partition === null ? channel.next : (channel.ends[partition] ?? 0))
    })
  }

  pendingFrom(name: string, partition: number, offset: number): Promise<number> {
    return this.#do(
      'pendingFrom',
      () =>
        this.#channel(name).records.filter((record) => record.partition === partition && record.offset >= offset)
          .length,
    )
  }

  trim(name: string, partition: number, before: number): Promise<void> {
    return this.#do('trim', () => {
      const channel = this.#channel(name)
      channel.records = channel.records.filter((record) => record.partition !== partition || record.offset >= before)
    })
  }

  bytes(name: string): Promise<number> {
    return this.#do('bytes', () => this.#channel(name).records.reduce((sum, { event }) => sum + event.text.length, 0))
  }

  async watch(channel: string, onAppend: (partition: number | null) => void): Promise<() => void> {
    const watcher = [channel, onAppend] as const
    this.#server.watchers.add(watcher)
    return () => this.#server.watchers.delete(watcher)
  }

  readConsumerLog(id: string): Promise<ConsumerLogContent> {
    return this.#do('readConsumerLog', () => {
      const consumerLog = this.#server.consumerLogs.get(id)
      return { entries: consumerLog?.entries.map(([, entry]) => entry) ?? [], version: consumerLog?.version ?? 0 }
    })
  }

  appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number> {
    return this.#do('appendConsumerLog', () => {
      const consumerLog = this.#server.consumerLogs.get(id) ?? { version: 0, entries: [] }
      if (consumerLog.version !== expected) throw new Fenced(id)
      this.#server.consumerLogs.set(id, consumerLog)
      consumerLog.version++
      consumerLog.entries.push([consumerLog.version, Buffer.from(entry)])
      this.#server.onConsumerLogWritten(id, entry)
      return consumerLog.version
    })
  }

  trimConsumerLog(id: string, before: number): Promise<void> {
    return this.#do('trimConsumerLog', () => {
      const consumerLog = this.#server.consumerLogs.get(id)
      if (consumerLog !== undefined) consumerLog.entries = consumerLog.entries.filter(([version]) => version >= before)
    })
  }

  consumerLogs(): Promise<string[]> {
    return this.#do('consumerLogs', () => [...this.#server.consumerLogs.keys()])
  }

  removeConsumerLog(id: string): Promise<void> {
    return this.#do('removeConsumerLog', () => void this.#server.consumerLogs.delete(id))
  }

  beat(group: string, member: string, text: string, ttlMs: number): Promise<void> {
    return this.#do('beat', () => {
      const members = this.#server.members.get(group) ?? new Map()
      this.#server.members.set(group, members.set(member, text))
      this.#server.keptUntil.set(`${group}/${member}`, this.#clock.elapsed() + ttlMs)
    })
  }

  leave(group: string, member: string): Promise<void> {
    return this.#do('leave', () => void this.#server.members.get(group)?.delete(member))
  }

  members(group: string): Promise<ReadonlyMap<string, string>> {
    const isKept = ([member]: readonly [string, string]): boolean =>
      this.#clock.elapsed() <= (this.#server.keptUntil.get(`${group}/${member}`) ?? Number.POSITIVE_INFINITY)
    return this.#do('members', () => new Map([...(this.#server.members.get(group) ?? [])].filter(isKept)))
  }

  async close(): Promise<void> {
    this.#closed = true
  }
}
