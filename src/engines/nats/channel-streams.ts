/**
 * Channels as JetStream streams. The metadata of a stream names its channel, so the list of streams is the registry.
 *
 * The servers enforce the limits: count, bytes, age, and the latest event of each key by subject. A stream must keep
 * events at least as long as their ids (its duplicate window). If a channel's age limit is shorter than its window, the
 * stream keeps events for the window, and readers skip those that are too old.
 */
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { channelEntryIn, damagedEntry } from '../../external-log/channel-entry.ts'
import type { ChannelEntry } from '../../external-log/log-backend.ts'
import { API, isApiError, millraceError } from './api-error.ts'
import type { Layout } from './layout.ts'
import type { NatsClient } from './nats-client.ts'

const METADATA = 'millrace'
const NANOS = 1e6
/** Ids of emissions are known for at least this long. */
const WINDOW_MS = 120_000
/** The shortest window that the servers accept. */
const WINDOW_MS_MIN = 100

export interface StreamState {
  readonly messages: number
  readonly bytes: number
  readonly first_seq: number
  readonly last_seq: number
}

interface StreamInfo {
  readonly config: { readonly name: string; readonly metadata?: Readonly<Record<string, string>> }
  readonly state: StreamState
  /** The server's time. */
  readonly ts?: string
}

interface StreamList {
  readonly streams: readonly StreamInfo[] | null
  readonly total: number
  /** Names of streams that exist and have no leader now. */
  readonly missing?: readonly string[]
}

/** A channel, and the stream that holds it. */
export interface ChannelStream extends ChannelEntry {
  readonly name: string
  readonly stream: string
  readonly byKey: boolean
  /** Readers skip events that are older, although the stream may still have them. */
  readonly hiddenAfterMs: number | null
}

export class ChannelStreams {
  readonly #client: NatsClient
  readonly #layout: Layout
  readonly #replicas: number
  #channels = new Map<string, ChannelStream>()
  /** How far the server's clock is ahead of ours. */
  #aheadMs = 0

  constructor(client: NatsClient, layout: Layout, replicas: number) {
    this.#client = client
    this.#layout = layout
    this.#replicas = replicas
  }

  /** The approximate time by the server's clock. */
  serverNow(): number {
    return Date.now() + this.#aheadMs
  }

  async list(): Promise<ChannelEntry[]> {
    const found = new Map<string, ChannelStream>()
    for (let offset = 0; ; ) {
      const page = await this.#call('listing channels', () =>
        this.#client.api<StreamList>('STREAM.LIST', { offset, subject: `${this.#layout.prefix}.>` }),
      )
      const streams = page.streams ?? []
      for (const stream of streams) {
        this.#noteServerTime(stream)
        const entry = this.#entryOf(stream)
        if (entry !== null) found.set(entry.spec.name, this.#channel(entry))
      }
      for (const stream of page.missing ?? []) {
        const channel = await this.#silent(stream)
        if (channel !== null) found.set(channel.name, channel)
      }
      offset += streams.length
      if (streams.length === 0 || offset >= page.total) break
    }
    this.#channels = found
    return [...found.values()].map(entryOf)
  }

  /** One channel, as the servers know it now. */
  async look(name: string): Promise<ChannelEntry | null> {
    try {
      return entryOf(await this.#ask(name))
    } catch (error) {
      if (!isMillraceError(error, 'UNKNOWN_CHANNEL') && !isMillraceError(error, 'DATA_DAMAGED')) throw error
      this.#channels.delete(name)
      return null
    }
  }

  /** The channel of a stream whose leader did not answer in time: such a stream exists. */
  async #silent(stream: string): Promise<ChannelStream | null> {
    for (const channel of this.#channels.values()) if (channel.stream === stream) return channel
    const info = await this.#call('looking at a channel', () => this.#client.api<StreamInfo>(`STREAM.INFO.${stream}`))
    const entry = this.#entryOf(info)
    return entry === null ? null : this.#channel(entry)
  }

  /** @throws UNKNOWN_CHANNEL */
  async get(name: string): Promise<ChannelStream> {
    return this.#channels.get(name) ?? this.#ask(name)
  }

  /** @throws UNKNOWN_CHANNEL · DATA_DAMAGED */
  async #ask(name: string): Promise<ChannelStream> {
    const info = await this.#call(
      'looking at a channel',
      () => this.#client.api<StreamInfo>(`STREAM.INFO.${this.#layout.stream(name)}`),
      name,
    )
    const entry = this.#entryOf(info)
    if (entry === null)
      throw new MillraceError('DATA_DAMAGED', damagedEntry('nats', `stream ${this.#layout.stream(name)}`), {
        channel: name,
      })
    const channel = this.#channel(entry)
    this.#channels.set(name, channel)
    return channel
  }

  async create(entry: ChannelEntry): Promise<void> {
    const config = this.#config(entry)
    try {
      await this.#call('creating a channel', () => this.#client.api(`STREAM.CREATE.${config.name}`, config))
      this.#channels.set(entry.spec.name, this.#channel(entry))
    } catch (error) {
      if (!isApiError((error as Error).cause, API.streamExists)) throw error
      this.#channels.delete(entry.spec.name)
    }
  }

  async update(entry: ChannelEntry): Promise<void> {
    const config = this.#config(entry)
    await this.#call(
      'changing a channel',
      () => this.#client.api(`STREAM.UPDATE.${config.name}`, config),
      entry.spec.name,
    )
    this.#channels.set(entry.spec.name, this.#channel(entry))
  }

  async remove(name: string): Promise<void> {
    this.#channels.delete(name)
    await this.#call(
      'removing a channel',
      () => this.#client.api(`STREAM.DELETE.${this.#layout.stream(name)}`),
      name,
    ).catch((error: unknown) => {
      if (!isApiError((error as Error).cause, API.streamNotFound)) throw error
    })
  }

  /** The state of the stream, from its leader. */
  async state({ name, stream }: ChannelStream): Promise<StreamState> {
    const info = await this.#call(
      'looking at a channel',
      () => this.#client.api<StreamInfo>(`STREAM.INFO.${stream}`),
      name,
    )
    this.#noteServerTime(info)
    return info.state
  }

  forget(name: string): void {
    this.#channels.delete(name)
  }

  /** The channel of a stream, or null if the stream is not a channel. */
  #entryOf({ config }: StreamInfo): ChannelEntry | null {
    const text = config.metadata?.[METADATA]
    if (text === undefined) return null
    const entry = channelEntryIn(text)
    if (entry !== null && this.#layout.stream(entry.spec.name) === config.name) return entry
    this.#client.alarms.raise('DATA_DAMAGED', damagedEntry('nats', `the metadata of stream ${config.name}`))
    return null
  }

  #noteServerTime({ ts }: StreamInfo): void {
    if (ts !== undefined) this.#aheadMs = Date.parse(ts) - Date.now()
  }

  async #call<T>(what: string, work: () => Promise<T>, channel?: string): Promise<T> {
    try {
      return await this.#client.patiently(what, work)
    } catch (error) {
      throw millraceError(error, what, channel)
    }
  }

  #channel(entry: ChannelEntry): ChannelStream {
    const { name, retain, dedupe } = entry.spec
    const hidden = retain.ageMs !== null && retain.ageMs < windowMs(dedupe)
    return {
      ...entry,
      name,
      stream: this.#layout.stream(name),
      byKey: retain.latestByKey,
      hiddenAfterMs: hidden ? retain.ageMs : null,
    }
  }

  #config(entry: ChannelEntry): Readonly<Record<string, unknown>> & { readonly name: string } {
    const { name, retain, dedupe } = entry.spec
    const window = windowMs(dedupe)
    return {
      name: this.#layout.stream(name),
      subjects: this.#layout.subjects(name, retain.latestByKey),
      storage: 'file',
      retention: 'limits',
      discard: 'old',
      num_replicas: this.#replicas,
      allow_direct: true,
      allow_atomic: true,
      max_msgs: retain.count ?? -1,
      max_bytes: retain.bytes ?? -1,
      max_age: retain.ageMs === null ? 0 : Math.max(retain.ageMs, window) * NANOS,
      max_msgs_per_subject: retain.latestByKey ? 1 : -1,
      duplicate_window: window * NANOS,
      ...(!retain.latestByKey && {
        subject_transform: { src: this.#layout.inbox(name), dest: `${this.#layout.base(name)}0` },
      }),
      metadata: { [METADATA]: JSON.stringify(entry) },
    }
  }
}

function entryOf({ format, incarnation, spec, partitions }: ChannelStream): ChannelEntry {
  return { format, incarnation, spec, partitions }
}

function windowMs(dedupe: ChannelSpec['dedupe']): number {
  return Math.max(WINDOW_MS_MIN, dedupe?.ageMs ?? WINDOW_MS)
}
