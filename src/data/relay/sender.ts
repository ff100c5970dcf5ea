/**
 * Publishes events of the outbox, as they are stored, in the order in which they come.
 *
 * Events of one channel go in batches, all or none. When a batch fails because of its events, it is divided until the
 * event that fails is found; that one is not published, and neither are the later ones of its key. When the broker
 * fails, the whole call fails. An event that was published before is known by its id (clause 8).
 */
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { checkName, isOwnChannel } from '../../base/names.ts'
import { shown } from '../../base/shown.ts'
import type { BrokerHost } from '../../broker/broker.ts'
import type { EncodedEvent } from '../../broker/encoded-event.ts'
import type { Channel } from '../../channel/channel.ts'
import { validateCloudEvent } from '../../event/validate-cloud-event.ts'
import type { HeldFailure, OutboxEvent } from './outbox-store.ts'

/** Errors that say something of the event or its channel. All others are taken as failures of the broker. */
const OF_THE_EVENT = new Set([
  'INVALID_EVENT',
  'INVALID_NAME',
  'INVALID_OPTION',
  'EVENT_TOO_LARGE',
  'TYPE_NOT_CARRIED',
  'SCHEMA_MISMATCH',
  'UNKNOWN_CHANNEL',
  'CHANNEL_CONFLICT',
  'CLAUSE_REFUSED',
  'FORBIDDEN',
])

/** What became of events. Those in neither list wait behind one that failed. */
export interface Sent<Event extends OutboxEvent> {
  readonly published: Event[]
  readonly failed: { readonly event: Event; readonly failure: HeldFailure }[]
  readonly behind: Event[]
}

export class Sender {
  readonly #host: BrokerHost
  /** Definitions that the relay was given, by name: a channel that does not exist is made. */
  readonly #channels: ReadonlyMap<string, Channel>

  constructor(host: BrokerHost, channels: readonly Channel[]) {
    this.#host = host
    this.#channels = new Map(channels.map((channel) => [channel.name, channel]))
  }

  /** @throws the error of the broker when it takes no events now; some of the events may be published */
  async send<Event extends OutboxEvent>(events: readonly Event[]): Promise<Sent<Event>> {
    const sent: Sent<Event> = { published: [], failed: [], behind: [] }
    const byChannel = byChannelOf(events)
    await Promise.all([...byChannel].map(([channel, some]) => this.#sendTo(channel, some, sent)))
    return sent
  }

  async #sendTo<Event extends OutboxEvent>(
    channel: string,
    events: readonly Event[],
    sent: Sent<Event>,
  ): Promise<void> {
    const stuck = new Set<string>()
    for (const batch of batchesOf(events)) await this.#sendBatch(channel, batch, stuck, sent)
  }

  /** `stuck` has the keys of which an event failed. */
  async #sendBatch<Event extends OutboxEvent>(
    channel: string,
    events: readonly Event[],
    stuck: Set<string>,
    sent: Sent<Event>,
  ): Promise<void> {
    const open: Event[] = []
    for (const event of events) (event.key !== null && stuck.has(event.key) ? sent.behind : open).push(event)
    const [first] = open
    if (first === undefined) return
    try {
      await this.#publish(channel, open)
      for (const event of open) sent.published.push(event)
    } catch (error) {
      if (!isMillraceError(error) || !OF_THE_EVENT.has(error.code)) throw error
      if (open.length > 1) {
        const half = open.length >> 1
        await this.#sendBatch(channel, open.slice(0, half), stuck, sent)
        await this.#sendBatch(channel, open.slice(half), stuck, sent)
        return
      }
      if (first.key !== null) stuck.add(first.key)
      sent.failed.push({ event: first, failure: { code: error.code, message: storable(error.message) } })
    }
  }

  async #publish(channel: string, events: readonly OutboxEvent[]): Promise<void> {
    if (isOwnChannel(checkName(channel, 'channel'))) throw ownChannel(channel)
    const encoded = events.map(checked)
    const dueAtMs = events[0]?.dueAtMs ?? null
    try {
      await this.#store(channel, encoded, dueAtMs)
    } catch (error) {
      const declared = this.#channels.get(channel)
      if (declared === undefined || !isMillraceError(error, 'UNKNOWN_CHANNEL')) throw error
      await this.#host.encoder.renew(declared)
      await this.#store(channel, encoded, dueAtMs)
    }
  }

  async #store(channel: string, events: readonly EncodedEvent[], dueAtMs: number | null): Promise<void> {
    const { engine } = this.#host
    const [first] = events
    if (first !== undefined && events.length === 1) await engine.publish(channel, first, dueAtMs)
    else await engine.publishBatch(channel, events, dueAtMs)
  }
}

/** Without what a text of Postgres cannot hold: NUL, and halves of characters. The text may be that of a row. */
function storable(message: string): string {
  return Buffer.from(message).toString().replaceAll('\0', '\uFFFD')
}

function ownChannel(channel: string): MillraceError {
  const message = `channel "${channel}" is Millrace's own: an outbox does not publish to it`
  return new MillraceError('INVALID_NAME', message, { name: channel, of: 'channel' })
}

/** Batches of events that can be published together: of one due time, within the limits of a batch. */
function* batchesOf<Event extends OutboxEvent>(events: readonly Event[]): Generator<Event[]> {
  let batch: Event[] = []
  let bytes = 0
  for (const event of events) {
    const [first] = batch
    const fits =
      first === undefined ||
      (first.dueAtMs === event.dueAtMs &&
        bytes + event.text.length <= LIMITS.batchBytesMax &&
        batch.length < LIMITS.outboxBatchMax)
    if (!fits) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(event)
    bytes += event.text.length
  }
  if (batch.length > 0) yield batch
}

function byChannelOf<Event extends OutboxEvent>(events: readonly Event[]): Map<string, Event[]> {
  const byChannel = new Map<string, Event[]>()
  for (const event of events) {
    const some = byChannel.get(event.channel)
    if (some === undefined) byChannel.set(event.channel, [event])
    else some.push(event)
  }
  return byChannel
}

/**
 * Other programs may insert rows, too: the columns must say what the event says.
 * @throws INVALID_EVENT
 */
function checked({ channel, id, type, key, text }: OutboxEvent): EncodedEvent {
  const reasons = reasonsAgainst(id, type, key, text)
  if (reasons.length === 0) return { id, type, key, text }
  throw new MillraceError('INVALID_EVENT', `the row for event ${shown(id)} in the outbox: ${reasons.join('; ')}`, {
    ...{ channel, id, type, reasons },
  })
}

function reasonsAgainst(id: string, type: string, key: string | null, text: string): string[] {
  let event: { readonly id?: unknown; readonly type?: unknown }
  try {
    event = JSON.parse(text) as typeof event
  } catch {
    return ['"event" is not JSON']
  }
  const reasons = validateCloudEvent(event)
  if (reasons.length > 0) return reasons
  if (event.id !== id) reasons.push('"id" differs from that of "event"')
  if (event.type !== type) reasons.push('"type" differs from that of "event"')
  if (key !== null && (key === '' || key.includes('\0') || Buffer.byteLength(key) > LIMITS.keyBytesMax))
    reasons.push(`"key" must have 1 to ${LIMITS.keyBytesMax} bytes`)
  return reasons
}
