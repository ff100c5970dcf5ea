/**
 * Kafka as a log with a conditional write (`external-log/log-backend.ts`).
 *
 * A channel is a topic of one Kafka partition. The consumer logs of a group are another topic. Two more topics hold the
 * registry of channels and the heartbeats of members. Consumer groups and committed offsets of Kafka are not used: a
 * completion is an entry of a consumer log (`consumer-log-topic.ts`), and the text of a dead letter is an event of a
 * channel `~dead.…` (`external-log/letters/`).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { isMillraceError, MillraceError } from '../../base/errors.ts'
import type { Capabilities } from '../../broker/capabilities.ts'
import { QUEUE_GROUP } from '../../delivery/consumer-records.ts'
import type { BackendAlarms } from '../../external-log/backend/alarms.ts'
import { indexLogOf } from '../../external-log/consumer-index.ts'
import { SCHEDULE, scheduleSpec } from '../../external-log/delay/scheduler.ts'
import {
  type Appended,
  type AppendItem,
  type BackendListener,
  type Bounds,
  type ChannelEntry,
  type ConsumerLogContent,
  Fenced,
  type LogBackend,
  type OnAppend,
  type ReadLimit,
  type StoredRecord,
} from '../../external-log/log-backend.ts'
import { kafkaCapabilities } from './capabilities.ts'
import { ChannelTopic } from './channel-topic.ts'
import type { KafkaClient } from './client.ts'
import { ConsumerLogTopic } from './consumer-log-topic.ts'
import { KafkaChannel } from './kafka-channel.ts'
import { millraceError } from './kafka-error.ts'
import { MemberNotes } from './member-notes.ts'
import { QueueFloors } from './queue-floors.ts'
import { RegistryTopic } from './registry-topic.ts'
import type { TopicPlan } from './requests.ts'
import { TailWatch } from './tail-watch.ts'
import type { Durability, TopicPlans } from './topic-plans.ts'
import { Topics } from './topics.ts'

/** How long closing waits for events that are being stored. */
const CLOSE_MS = 5000

/** The consumer logs of a group are in one topic, and those of a queue in another. */
function groupOf(id: string): string {
  const [group = '', channel = ''] = id.split('/')
  return group === QUEUE_GROUP ? `${group}/${channel}` : group
}

export class KafkaBackend implements LogBackend {
  readonly name = 'kafka'
  readonly capabilities: Capabilities
  readonly limits: { readonly batchEvents: number; readonly entryBytes: number } = {
    batchEvents: 65_536,
    entryBytes: 16 * 1024 * 1024,
  }
  readonly #client: KafkaClient
  readonly #plans: TopicPlans
  readonly #topics: Topics
  readonly #registry: RegistryTopic
  readonly #notes: MemberNotes
  readonly #watch: TailWatch
  /** Channels by incarnation. */
  readonly #channels = new Map<string, KafkaChannel>()
  readonly #consumerLogs = new Map<string, Promise<ConsumerLogTopic>>()
  readonly #floors: QueueFloors
  readonly #alarms: BackendAlarms
  readonly #durability: Durability
  /** Appends that are under way. */
  readonly #appending = new Set<Promise<void>>()
  #closed = false

  private constructor(client: KafkaClient, plans: TopicPlans, durability: Durability, alarms: BackendAlarms) {
    this.#client = client
    this.#plans = plans
    this.#alarms = alarms
    this.#durability = durability
    this.capabilities = kafkaCapabilities(durability)
    this.#topics = new Topics(client)
    this.#registry = new RegistryTopic(client, plans.registry.name, (message) => alarms.raise('DATA_DAMAGED', message))
    this.#notes = new MemberNotes(client, plans.notes.name)
    this.#watch = new TailWatch(client)
    const raise = (incarnation: string, floors: readonly number[]): Promise<void> =>
      this.#registry.raise(incarnation, floors)
    this.#floors = new QueueFloors(
      { raise, raised: (incarnation) => this.#channels.get(incarnation)?.settled() },
      alarms.retention,
    )
  }

  /** @throws CLAUSE_REFUSED · UNAVAILABLE · UNAUTHENTICATED · FORBIDDEN */
  static async open(
    client: KafkaClient,
    plans: TopicPlans,
    durability: Durability,
    alarms: BackendAlarms,
  ): Promise<KafkaBackend> {
    const backend = new KafkaBackend(client, plans, durability, alarms)
    try {
      // All topics that every process needs, in one request, because creating topics is slow.
      await backend.#topics.create([
        plans.registry,
        plans.notes,
        plans.channel(scheduleSpec),
        plans.consumerLog(groupOf(`${QUEUE_GROUP}/${SCHEDULE}/0`)),
        plans.consumerLog(groupOf(indexLogOf(''))),
      ])
      await backend.#topics.checkDurable(plans.registry, durability)
      await backend.#registry.look()
    } catch (error) {
      client.close()
      throw millraceError('connecting', error)
    }
    return backend
  }

  listen(listener: BackendListener): void {
    this.#alarms.listen(listener)
  }

  async #do<T>(what: string, work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new MillraceError('CLOSED', 'the connection to Kafka is closed: connect again')
    try {
      return await work()
    } catch (error) {
      if (error instanceof Fenced) throw error
      throw millraceError(what, error)
    }
  }

  channels(): Promise<readonly ChannelEntry[]> {
    return this.#do('listing channels', async () => {
      await this.#look()
      return this.#registry.channels
    })
  }

  channel(name: string): Promise<ChannelEntry | null> {
    return this.#do(`looking at channel "${name}"`, async () => {
      await this.#look()
      return this.#registry.channel(name) ?? null
    })
  }

  async #look(): Promise<void> {
    await this.#registry.look()
    for (const [incarnation, channel] of this.#channels) {
      if (this.#registry.channel(channel.entry.spec.name)?.incarnation !== incarnation) this.#forget(incarnation)
    }
  }

  createChannel(entry: ChannelEntry): Promise<void> {
    return this.#do(`creating channel "${entry.spec.name}"`, async () => {
      await this.#registry.look()
      if (this.#registry.channel(entry.spec.name) !== undefined) return
      const plan = this.#plans.channel(entry.spec)
      // A topic that another program created may hold the channel, if it is as durable as required.
      if (!(await this.#topics.create([plan]))) await this.#topics.checkDurable(plan, this.#durability)
      await this.#registry.create(entry)
    })
  }

  updateChannel(entry: ChannelEntry, before: ChannelEntry): Promise<boolean> {
    return this.#do(`changing channel "${entry.spec.name}"`, async () => {
      await this.#topics.configure(this.#plans.channel(entry.spec).name, this.#plans.channelConfigs(entry.spec))
      return this.#registry.update(entry, before)
    })
  }

  removeChannel(name: string): Promise<void> {
    return this.#do(`removing channel "${name}"`, async () => {
      await this.#registry.look()
      const entry = this.#registry.channel(name)
      if (entry === undefined) return
      await this.#registry.remove(entry)
      this.#forget(entry.incarnation)
      await this.#topics.delete(this.#plans.channel(entry.spec).name)
    })
  }

  #forget(incarnation: string): void {
    this.#channels.get(incarnation)?.close()
    this.#channels.delete(incarnation)
    this.#floors.forget(incarnation)
  }

  /** @throws UNKNOWN_CHANNEL */
  async #channel(name: string): Promise<KafkaChannel> {
    let entry = this.#registry.channel(name)
    if (entry === undefined) {
      await this.#registry.look()
      entry = this.#registry.channel(name)
    }
    if (entry === undefined)
      throw new MillraceError('UNKNOWN_CHANNEL', `channel "${name}" does not exist`, { channel: name })
    const { incarnation } = entry
    let channel = this.#channels.get(incarnation)
    if (channel === undefined) {
      const plan = this.#plans.channel(entry.spec)
      const log = new ChannelTopic(this.#client, plan.name, entry, () => this.#exists(name, incarnation, plan))
      channel = new KafkaChannel(log, () => this.#registry.floors(incarnation), this.#alarms.retention)
      this.#channels.set(incarnation, channel)
    }
    channel.log.entry = entry
    return channel
  }

  /**
   * Whether a channel still exists whose topic does not. If so, its topic is created again: the process that declared
   * the channel may have seen the topic of its predecessor.
   */
  async #exists(name: string, incarnation: string, plan: TopicPlan): Promise<boolean> {
    await this.#registry.look()
    if (this.#registry.channel(name)?.incarnation !== incarnation) return false
    await this.#topics.create([plan])
    return true
  }

  append(channel: string, items: readonly AppendItem[]): Promise<readonly Appended[]> {
    const appended = this.#do(`publishing to channel "${channel}"`, async () =>
      (await this.#channel(channel)).append(items),
    )
    const settled = appended.then(
      () => undefined,
      () => undefined,
    )
    this.#appending.add(settled)
    void settled.then(() => this.#appending.delete(settled))
    return appended
  }

  known(channel: string, ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
    return this.#do(`looking for ids in channel "${channel}"`, async () => (await this.#channel(channel)).known(ids))
  }

  read(channel: string, partition: number | null, from: number, limit: ReadLimit): Promise<readonly StoredRecord[]> {
    return this.#do(`reading channel "${channel}"`, async () =>
      (await this.#channel(channel)).read(partition, from, limit),
    )
  }

  bounds(channel: string, partition: number | null): Promise<Bounds> {
    return this.#do(`looking at channel "${channel}"`, async () => (await this.#channel(channel)).bounds(partition))
  }

  seek(channel: string, partition: number | null, timeMs: number): Promise<number> {
    return this.#do(`seeking in channel "${channel}"`, async () =>
      (await this.#channel(channel)).seek(partition, timeMs),
    )
  }

  pendingFrom(channel: string, partition: number, offset: number): Promise<number> {
    return this.#do(`counting in channel "${channel}"`, async () =>
      (await this.#channel(channel)).pendingFrom(partition, offset),
    )
  }

  trim(channel: string, partition: number, before: number): Promise<void> {
    return this.#do(`trimming channel "${channel}"`, async () =>
      this.#floors.settled((await this.#channel(channel)).entry, partition, before),
    )
  }

  /** Kafka tells the sizes of topics to accounts that may describe the cluster. */
  async bytes(channel: string): Promise<number | null> {
    try {
      return await this.#do(`measuring channel "${channel}"`, async () =>
        this.#topics.bytes((await this.#channel(channel)).log.topic),
      )
    } catch (error) {
      if (isMillraceError(error, 'FORBIDDEN')) return null
      throw error
    }
  }

  watch(channel: string, onAppend: OnAppend): Promise<() => void> {
    return this.#do(`watching channel "${channel}"`, async () =>
      this.#watch.add((await this.#channel(channel)).log, onAppend),
    )
  }

  /** The topic of a group's consumer logs; null if it does not exist and is not to be created. */
  async #consumerLog(id: string, make: boolean): Promise<ConsumerLogTopic | null> {
    const group = groupOf(id)
    if (!this.#registry.consumerLogs.has(group)) await this.#registry.look()
    if (!this.#registry.consumerLogs.has(group) && !make) return null
    let consumerLog = this.#consumerLogs.get(group)
    if (consumerLog === undefined) {
      consumerLog = this.#openConsumerLog(group)
      this.#consumerLogs.set(group, consumerLog)
      consumerLog.catch(() => this.#consumerLogs.delete(group))
    }
    return consumerLog
  }

  async #openConsumerLog(group: string): Promise<ConsumerLogTopic> {
    const plan = this.#plans.consumerLog(group)
    if (!this.#registry.consumerLogs.has(group)) {
      await this.#topics.create([plan])
      await this.#registry.addConsumerLog(group)
    }
    return new ConsumerLogTopic(this.#client, plan.name, this.#alarms.retention)
  }

  readConsumerLog(id: string): Promise<ConsumerLogContent> {
    return this.#do(
      `reading consumer log ${id}`,
      async () => (await this.#consumerLog(id, false))?.read(id) ?? { entries: [], version: 0 },
    )
  }

  appendConsumerLog(id: string, expected: number, entry: Uint8Array): Promise<number> {
    return this.#do(`writing consumer log ${id}`, async () =>
      ((await this.#consumerLog(id, true)) as ConsumerLogTopic).append(id, expected, entry),
    )
  }

  trimConsumerLog(id: string, before: number): Promise<void> {
    return this.#do(`trimming consumer log ${id}`, async () => (await this.#consumerLog(id, false))?.trim(id, before))
  }

  consumerLogs(): Promise<readonly string[]> {
    return this.#do('listing consumer logs', async () => {
      await this.#registry.look()
      const found = await Promise.all(
        [...this.#registry.consumerLogs].map(
          async (group) => (await this.#consumerLog(`${group}/`, false))?.ids() ?? [],
        ),
      )
      // Two groups may have one topic: those of the consumer `queue.mail` and of the queue `mail`.
      return [...new Set(found.flat())]
    })
  }

  removeConsumerLog(id: string): Promise<void> {
    return this.#do(`removing consumer log ${id}`, async () => (await this.#consumerLog(id, false))?.remove(id))
  }

  beat(group: string, member: string, text: string, ttlMs: number): Promise<void> {
    return this.#do('sending a heartbeat', () => this.#notes.beat(group, member, text, ttlMs))
  }

  leave(group: string, member: string): Promise<void> {
    return this.#do('ending a membership', () => this.#notes.leave(group, member))
  }

  members(group: string): Promise<ReadonlyMap<string, string>> {
    return this.#do('asking who lives', () => this.#notes.of(group))
  }

  async close(): Promise<void> {
    // Callers get the receipts of events that are stored: they must not be told that these were refused.
    await Promise.race([Promise.all(this.#appending), sleep(CLOSE_MS, undefined, { ref: false })])
    await this.#floors.close()
    this.sever()
  }

  /** Close as if the process had died. */
  sever(): void {
    this.#closed = true
    this.#watch.close()
    for (const channel of this.#channels.values()) channel.close()
    this.#client.close()
  }
}
