/**
 * Storing events (clauses 1 and 8): a few events as single messages, more as atomic batches, which cost one sync each.
 *
 * Invariants:
 * - Every message has an id, so a message without an answer can be sent again and is stored once. A message without a
 *   deduplication id gets an id of its own.
 * - Order is kept within a call. Messages that are sent again go in order. On replicated streams, a change of leader
 *   may drop a message and take the next one, so several events are always a batch there.
 * - A batch with a known id is refused as a whole. The ids are then asked for with messages that the server never
 *   stores: a stream that permits no rollup refuses them, unless their id is known, which the server checks first.
 */
import { MillraceError } from '../../base/errors.ts'
import type { Appended, AppendItem } from '../../external-log/log-backend.ts'
import { API, ApiError, isApiError, isPassing } from './api-error.ts'
import type { ChannelStream } from './channel-streams.ts'
import type { Layout } from './layout.ts'
import { type EventMessage, encodeMessage, messageId } from './message-codec.ts'
import type { NatsClient } from './nats-client.ts'

/** The servers' default limit. */
export const BATCH_EVENTS_MAX = 1000
/** A batch costs the server some milliseconds whatever its size. Fewer events are sent as single messages. */
const SINGLES_MAX = 12
const BATCH_BYTES_MAX = 8 * 1024 * 1024

interface Ack {
  readonly seq: number
  readonly duplicate?: boolean
  readonly count?: number
}

interface Outgoing extends EventMessage {
  readonly subject: string
  readonly id: string
}

export class EventAppend {
  readonly #client: NatsClient
  readonly #layout: Layout
  readonly #content: 'structured' | 'binary'
  readonly #replicated: boolean
  /** The highest sequence that is known, by stream. */
  readonly #known = new Map<string, number>()

  constructor(
    client: NatsClient,
    layout: Layout,
    { content, replicas }: { readonly content: 'structured' | 'binary'; readonly replicas: number },
  ) {
    this.#client = client
    this.#layout = layout
    this.#content = content
    this.#replicated = replicas > 1
  }

  async append(channel: ChannelStream, items: readonly AppendItem[], atomic: boolean): Promise<Appended[]> {
    const first = new Map<string, number>()
    const wanted: number[] = []
    const twins = new Map<number, number>()
    for (const [at, { dedupeId }] of items.entries()) {
      const twin = dedupeId === null ? undefined : first.get(dedupeId)
      if (twin !== undefined) twins.set(at, twin)
      else wanted.push(at)
      if (dedupeId !== null && twin === undefined) first.set(dedupeId, at)
    }
    const stored = await this.#store(
      channel,
      wanted.map((at) => this.#outgoing(channel, items[at] as AppendItem)),
      atomic,
    )
    const answers = new Map(wanted.map((at, index) => [at, stored[index] as Appended]))
    return items.map(
      (_, at) =>
        answers.get(at) ?? { offset: (answers.get(twins.get(at) as number) as Appended).offset, duplicate: true },
    )
  }

  #outgoing({ name, byKey }: ChannelStream, { partition, event, dedupeId }: AppendItem): Outgoing {
    const id = dedupeId === null ? `~${this.#client.library.nuid.next()}` : messageId(dedupeId)
    const subject = this.#layout.subject(name, partition, byKey, event.key, () => this.#client.library.nuid.next())
    const message = { subject, id, ...encodeMessage(event, id, this.#content) }
    if (sizeOf(message) <= this.#client.maxPayload) return message
    const details = {
      channel: name,
      id: event.id,
      type: event.type,
      bytes: sizeOf(message),
      bytesMax: this.#client.maxPayload,
    }
    throw new MillraceError(
      'EVENT_TOO_LARGE',
      `event "${event.type}" (id ${event.id}) is a message of ${details.bytes} bytes; the server's max_payload is ${details.bytesMax}`,
      details,
    )
  }

  async #store(channel: ChannelStream, messages: readonly Outgoing[], atomic: boolean): Promise<Appended[]> {
    if (messages.length === 1 || (!atomic && !this.#replicated && messages.length <= SINGLES_MAX))
      return this.#singly(channel, messages)
    if (atomic) return this.#together(channel, messages)
    const stored: Appended[] = []
    for (const part of parts(messages))
      stored.push(...(part.length === 1 ? await this.#singly(channel, part) : await this.#together(channel, part)))
    return stored
  }

  /** Send each message by itself, all at once. Those without an answer are sent again in order. */
  async #singly({ stream }: ChannelStream, messages: readonly Outgoing[]): Promise<Appended[]> {
    const before = this.#known.get(stream) ?? 0
    const answers = new Map<Outgoing, Appended>()
    await this.#client.patiently('publishing', async (tries) => {
      const left = messages.filter((message) => !answers.has(message))
      const results = await Promise.allSettled(
        left.map((message) =>
          this.#client.ask<Ack>(message.subject, message.payload, this.#client.headers(message.headers)),
        ),
      )
      let failed: unknown
      for (const [at, result] of results.entries()) {
        if (result.status === 'fulfilled')
          answers.set(left[at] as Outgoing, this.#appended(stream, result.value, tries > 1 ? before : null))
        else failed ??= result.reason
      }
      // A failure that is final is thrown only when the other messages are answered.
      const hopeless = results.find((result) => result.status === 'rejected' && !isPassing(result.reason))
      if (hopeless?.status === 'rejected') throw hopeless.reason
      if (failed !== undefined) throw failed
    })
    return messages.map((message) => answers.get(message) as Appended)
  }

  /** Store all messages or none. */
  async #together({ stream }: ChannelStream, messages: readonly Outgoing[]): Promise<Appended[]> {
    const before = this.#known.get(stream) ?? 0
    const known = new Map<Outgoing, Appended>()
    let stored: ReadonlyMap<Outgoing, Appended> = new Map()
    await this.#client.patiently('publishing', async (tries) => {
      for (;;) {
        const left = messages.filter((message) => !known.has(message))
        if (left.length === 0) return
        try {
          stored = await this.#batch(stream, left)
          return
        } catch (error) {
          if (!isApiError(error, API.batchHasDuplicate)) throw error
          const found = await this.#duplicates(stream, left, tries > 1 ? before : null)
          if (found.size === 0)
            throw new ApiError({ code: API.batchIncomplete, description: 'an id of the batch is being stored' })
          for (const [message, appended] of found) known.set(message, appended)
        }
      }
    })
    return messages.map((message) => (known.get(message) ?? stored.get(message)) as Appended)
  }

  async #batch(stream: string, messages: readonly Outgoing[]): Promise<Map<Outgoing, Appended>> {
    const batch = this.#client.library.nuid.next()
    const last = messages.length
    for (const [at, { subject, payload, headers }] of messages.entries()) {
      if (at < last - 1)
        this.#client.publish(
          subject,
          payload,
          this.#client.headers([...headers, ['Nats-Batch-Id', batch], ['Nats-Batch-Sequence', `${at + 1}`]]),
        )
    }
    const { subject, payload, headers } = messages[last - 1] as Outgoing
    const commit = this.#client.headers([
      ...headers,
      ['Nats-Batch-Id', batch],
      ['Nats-Batch-Sequence', `${last}`],
      ['Nats-Batch-Commit', '1'],
    ])
    const { seq, count } = await this.#client.ask<Ack>(subject, payload, commit)
    if (count !== last)
      throw new ApiError({ code: API.batchIncomplete, description: `the server counted ${count} of ${last} messages` })
    this.#learn(stream, seq)
    return new Map(messages.map((message, at) => [message, { offset: seq - last + 1 + at, duplicate: false }]))
  }

  /** Those of the ids that the server knows, with the sequences of their events. */
  async known({ stream, name, byKey }: ChannelStream, ids: readonly string[]): Promise<Map<string, number>> {
    const subject = this.#layout.subject(name, 0, byKey, null, () => this.#client.library.nuid.next())
    const found = new Map<string, number>()
    for (let at = 0; at < ids.length; at += SINGLES_MAX) {
      const asked = new Map(
        ids
          .slice(at, at + SINGLES_MAX)
          .map((id): [string, Outgoing] => [
            id,
            { subject, id: messageId(id), headers: [], payload: new Uint8Array() },
          ]),
      )
      const known = await this.#client.patiently('looking for ids', () =>
        this.#duplicates(stream, [...asked.values()], null),
      )
      for (const [id, message] of asked) {
        const appended = known.get(message)
        if (appended !== undefined) found.set(id, appended.offset)
      }
    }
    return found
  }

  /** The messages whose ids the server knows, with the sequences of the stored events. */
  async #duplicates(
    stream: string,
    messages: readonly Outgoing[],
    before: number | null,
  ): Promise<Map<Outgoing, Appended>> {
    const found = new Map<Outgoing, Appended>()
    const ask = async (message: Outgoing): Promise<void> => {
      try {
        const ack = await this.#client.ask<Ack>(
          message.subject,
          '',
          this.#client.headers([
            ['Nats-Msg-Id', message.id],
            ['Nats-Rollup', 'sub'],
          ]),
        )
        found.set(message, this.#appended(stream, ack, before))
      } catch (error) {
        if (!isApiError(error, API.rollupNotPermitted)) throw error
      }
    }
    await Promise.all(messages.map(ask))
    return found
  }

  /** After an attempt without an answer, a "duplicate" above `before` is the event of that attempt. */
  #appended(stream: string, { seq, duplicate }: Ack, before: number | null): Appended {
    this.#learn(stream, seq)
    return { offset: seq, duplicate: duplicate === true && (before === null || seq <= before) }
  }

  #learn(stream: string, seq: number): void {
    if (seq > (this.#known.get(stream) ?? 0)) this.#known.set(stream, seq)
  }

  /** The channel is gone. A new channel of its name begins again. */
  forget(stream: string): void {
    this.#known.delete(stream)
  }
}

function sizeOf({ headers, payload }: EventMessage): number {
  // The first line, the last line, and the headers of a batch.
  return payload.length + headers.reduce((sum, [name, value]) => sum + name.length + value.length + 4, 160)
}

function* parts(messages: readonly Outgoing[]): Generator<readonly Outgoing[]> {
  let part: Outgoing[] = []
  let bytes = 0
  for (const message of messages) {
    const size = sizeOf(message)
    if (part.length === BATCH_EVENTS_MAX || (part.length > 0 && bytes + size > BATCH_BYTES_MAX)) {
      yield part
      part = []
      bytes = 0
    }
    part.push(message)
    bytes += size
  }
  if (part.length > 0) yield part
}
