/**
 * Reading events in batches by subject, with the servers' direct get.
 *
 * A replica may answer for a replicated stream, and may be behind. When it has no more events, the leader is asked
 * whether that is the end.
 */
import type { Msg } from '@nats-io/transport-node'
import type { Bounds, ReadLimit, StoredRecord } from '../../external-log/log-backend.ts'
import { API, isApiError, millraceError } from './api-error.ts'
import type { ChannelStream, ChannelStreams, StreamState } from './channel-streams.ts'
import type { Layout } from './layout.ts'
import { decodeMessage } from './message-codec.ts'
import type { NatsClient } from './nats-client.ts'

interface LeadersMessage {
  readonly message: { readonly seq: number; readonly time: string; readonly hdrs?: string; readonly data?: string }
}

export class EventRead {
  readonly #client: NatsClient
  readonly #layout: Layout
  readonly #streams: ChannelStreams
  readonly #replicated: boolean
  readonly #states = new Map<string, Promise<StreamState>>()

  constructor(client: NatsClient, layout: Layout, streams: ChannelStreams, replicas: number) {
    this.#client = client
    this.#layout = layout
    this.#streams = streams
    this.#replicated = replicas > 1
  }

  async read(
    channel: ChannelStream,
    partition: number | null,
    from: number,
    limit: ReadLimit,
  ): Promise<StoredRecord[]> {
    const records: StoredRecord[] = []
    const filter = this.#layout.filter(channel.name, partition, channel.byKey)
    let bytes = 0
    let seq = from
    const take = (record: StoredRecord): void => {
      seq = record.offset + 1
      if (this.#hidden(channel, record.timeMs)) return
      records.push(record)
      bytes += record.event.text.length
    }
    while (records.length < limit.count && bytes < limit.bytes) {
      const batch = limit.count - records.length
      const found = await this.#batch(channel, filter, Math.max(1, seq), batch, limit.bytes - bytes, take)
      if (found.more) continue
      if (!this.#replicated) break
      const next = await this.#leaders(channel, filter, Math.max(1, seq))
      if (next === null) break
      take(next)
    }
    return records
  }

  async #batch(
    channel: ChannelStream,
    filter: string,
    seq: number,
    batch: number,
    bytes: number,
    take: (record: StoredRecord) => void,
  ): Promise<{ readonly more: boolean }> {
    const messages: Msg[] = []
    const end = await this.#call(channel.name, () => {
      messages.length = 0
      return this.#client.many(
        `$JS.API.DIRECT.GET.${channel.stream}`,
        { seq, next_by_subj: filter, batch, max_bytes: bytes },
        (message) => messages.push(message),
      )
    })
    for (const message of messages) take(recordOf(message))
    const code = end.headers?.code
    if (code !== 204 && code !== 404)
      throw millraceError(new Error(`the server answered ${end.headers?.status}`), 'reading', channel.name)
    return { more: code === 204 && Number(end.headers?.get('Nats-Num-Pending')) > 0 && messages.length > 0 }
  }

  /** The leader's first event at or after a sequence, or null. */
  async #leaders({ name, stream }: ChannelStream, filter: string, seq: number): Promise<StoredRecord | null> {
    try {
      const { message } = await this.#call(name, () =>
        this.#client.api<LeadersMessage>(`STREAM.MSG.GET.${stream}`, { seq, next_by_subj: filter }),
      )
      const headers =
        message.hdrs === undefined
          ? undefined
          : this.#client.library.MsgHdrsImpl.decode(Buffer.from(message.hdrs, 'base64'))
      const event = decodeMessage(headers, Buffer.from(message.data ?? '', 'base64'))
      return { offset: message.seq, timeMs: Date.parse(message.time), event }
    } catch (error) {
      if (isApiError((error as Error).cause, API.noMessage)) return null
      throw error
    }
  }

  /**
   * Calls of one turn for one channel share one request. This is not `OneAtATime`, in which a later call would wait for
   * the request under way.
   */
  async bounds(channel: ChannelStream): Promise<Bounds> {
    const state = await this.state(channel)
    const next = state.last_seq + 1
    const first = state.messages === 0 ? next : Math.max(1, state.first_seq)
    if (channel.hiddenAfterMs === null) return { first, next }
    return {
      first: Math.max(first, await this.seek(channel, null, this.#streams.serverNow() - channel.hiddenAfterMs, next)),
      next,
    }
  }

  state(channel: ChannelStream): Promise<StreamState> {
    let state = this.#states.get(channel.name)
    if (state === undefined) {
      // The request is sent after this turn: an append may have been answered before the call.
      state = Promise.resolve().then(() => {
        this.#states.delete(channel.name)
        return this.#streams.state(channel)
      })
      this.#states.set(channel.name, state)
    }
    return state
  }

  async seek(channel: ChannelStream, partition: number | null, timeMs: number, next: number): Promise<number> {
    const [found] = await this.#first(channel, partition, {
      start_time: new Date(Math.max(0, Math.ceil(timeMs))).toISOString(),
    })
    return found === undefined ? next : sequenceOf(found)
  }

  async pendingFrom(channel: ChannelStream, partition: number, offset: number): Promise<number> {
    let from = Math.max(1, offset)
    if (channel.hiddenAfterMs !== null) from = Math.max(from, (await this.bounds(channel)).first)
    const [found] = await this.#first(channel, partition, { seq: from })
    return found === undefined ? 0 : Number(found.headers?.get('Nats-Num-Pending')) + 1
  }

  async #first(
    channel: ChannelStream,
    partition: number | null,
    from: { readonly seq: number } | { readonly start_time: string },
  ): Promise<Msg[]> {
    const next_by_subj = this.#layout.filter(channel.name, partition, channel.byKey)
    const found: Msg[] = []
    await this.#call(channel.name, () => {
      found.length = 0
      return this.#client.many(`$JS.API.DIRECT.GET.${channel.stream}`, { ...from, next_by_subj, batch: 1 }, (message) =>
        found.push(message),
      )
    })
    return found
  }

  #hidden({ hiddenAfterMs }: ChannelStream, timeMs: number): boolean {
    return hiddenAfterMs !== null && this.#streams.serverNow() - timeMs > hiddenAfterMs
  }

  async #call<T>(channel: string, work: () => Promise<T>): Promise<T> {
    try {
      return await this.#client.patiently('reading', work)
    } catch (error) {
      throw millraceError(error, 'reading', channel)
    }
  }
}

function sequenceOf(message: Msg): number {
  return Number(message.headers?.get('Nats-Sequence'))
}

/** A stored event from the answer of a direct get. */
function recordOf(message: Msg): StoredRecord {
  const { headers } = message
  return {
    offset: sequenceOf(message),
    timeMs: Date.parse(headers?.get('Nats-Time-Stamp') ?? ''),
    event: decodeMessage(headers, message.data),
  }
}
