/** Creating, changing and removing topics, and checking whether they are durable. */
import { MillraceError } from '../../base/errors.ts'
import type { KafkaClient } from './client.ts'
import { CODES, KafkaError, kafkaError } from './kafka-error.ts'
import { alterTopic, createTopics, deleteTopic, type TopicPlan, topicBytes, topicConfigs } from './requests.ts'
import type { Durability } from './topic-plans.ts'

const TIMEOUT_MS = 15_000

export class Topics {
  readonly #client: KafkaClient

  constructor(client: KafkaClient) {
    this.#client = client
  }

  /**
   * Create topics. Existing ones stay as they are, if they can hold a channel. Answers whether none existed.
   * @throws CHANNEL_CONFLICT for a topic of several partitions · CLAUSE_REFUSED where the cluster has too few brokers
   */
  async create(plans: readonly TopicPlan[]): Promise<boolean> {
    const names = plans.map(({ name }) => name)
    const there = await this.#there(names)
    const missing = plans.filter(({ name }) => !there.has(name))
    if (missing.length === 0) return false
    const { library } = this.#client
    let allMissing = missing.length === plans.length
    await this.#client.any(`making ${missing.map(({ name }) => name).join(', ')}`, async (connection) => {
      try {
        await createTopics(library, connection, missing, TIMEOUT_MS)
      } catch (error) {
        const failure = kafkaError(error)
        if (!(failure instanceof KafkaError)) throw failure
        if (failure.code === CODES.INVALID_REPLICATION_FACTOR) throw tooFewBrokers(failure)
        if (failure.code !== CODES.TOPIC_ALREADY_EXISTS) throw failure
        // Another process has just created it: a broker learns of it later than the controller.
        allMissing = false
      }
    })
    await this.#client.any(`waiting for ${names.join(', ')}`, async () => {
      const made = await this.#there(names)
      const late = names.find((name) => !made.has(name))
      if (late !== undefined) throw new KafkaError(CODES.UNKNOWN_TOPIC_OR_PARTITION, `topic ${late} has no leader yet`)
    })
    return allMissing
  }

  async #there(names: readonly string[]): Promise<Set<string>> {
    const { topics } = await this.#client.any('looking for topics', () => this.#client.metadata(names))
    for (const { name, partitions } of topics) {
      if (partitions.length <= 1) continue
      const message = `topic ${name} has ${partitions.length} partitions, and a channel is a topic of one: use another channel name, or a prefix in the URL`
      throw new MillraceError('CHANNEL_CONFLICT', message, { topic: name, partitions: partitions.length })
    }
    return new Set(
      topics
        .filter(({ errorCode, partitions }) => errorCode === 0 && (partitions[0]?.leaderId ?? -1) >= 0)
        .map(({ name }) => name ?? ''),
    )
  }

  async configure(topic: string, configs: Readonly<Record<string, string>>): Promise<void> {
    await this.#client.any(`changing ${topic}`, (connection) =>
      alterTopic(this.#client.library, connection, topic, configs),
    )
  }

  async delete(topic: string): Promise<void> {
    await this.#client.any(`removing ${topic}`, async (connection) => {
      try {
        await deleteTopic(this.#client.library, connection, topic, TIMEOUT_MS)
      } catch (error) {
        const failure = kafkaError(error)
        if (!(failure instanceof KafkaError) || failure.code !== CODES.UNKNOWN_TOPIC_OR_PARTITION) throw failure
      }
    })
    this.#client.forget(topic)
    // Brokers learn of the removal a moment later. A process that creates the topic again must not see the old one.
    await this.#client.any(`removing ${topic}`, async () => {
      if ((await this.#there([topic])).has(topic))
        throw new KafkaError(CODES.LEADER_NOT_AVAILABLE, `topic ${topic} is being removed`)
    })
  }

  /** Bytes on the leader's disk. */
  bytes(topic: string): Promise<number> {
    return this.#client.leader(`measuring ${topic}`, topic, 'ask', (connection) =>
      topicBytes(this.#client.library, connection, topic),
    )
  }

  /** Clause 1: an acknowledged event survives. @throws CLAUSE_REFUSED */
  async checkDurable(plan: TopicPlan, durability: Durability): Promise<void> {
    const { name } = plan
    const found = await this.#client.any('asking how topics are kept', (connection) =>
      topicConfigs(this.#client.library, connection, [name], ['flush.messages', 'min.insync.replicas']),
    )
    const configs = found.get(name)
    const weak =
      durability === 'synced' ? configs?.get('flush.messages') !== '1' : Number(configs?.get('min.insync.replicas')) < 2
    if (!weak) return
    const setting = durability === 'synced' ? 'flush.messages=1' : 'min.insync.replicas=2'
    const message = `kafka: clause 1 (durable) does not hold: topic ${name} does not have ${setting}. Set it on the topics, or choose in the URL (durable=synced or durable=replicated)`
    throw new MillraceError('CLAUSE_REFUSED', message, { engine: 'kafka', clause: 1, setting })
  }
}

function tooFewBrokers(cause: KafkaError): MillraceError {
  const message = `kafka: clause 1 (durable) cannot hold with durable=replicated: it needs three replicas, and the cluster has too few brokers (${cause.message}). Use durable=synced, which is the default`
  return new MillraceError(
    'CLAUSE_REFUSED',
    message,
    { engine: 'kafka', clause: 1, setting: 'default.replication.factor' },
    { cause },
  )
}
