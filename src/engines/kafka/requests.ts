/**
 * Requests to Kafka. A topic of Millrace has one partition, number 0.
 *
 * The requests with records, Produce (version 9) and Fetch (version 12), are encoded here, because the client library's
 * encoder creates an object and several buffers for each field of each record. The library encodes the other requests.
 * @see https://kafka.apache.org/protocol
 */
import { KafkaError } from './kafka-error.ts'
import type { ConnectionLike, KafkaLibrary, ReaderLike } from './library.ts'
import { WireReader, WireWriter } from './wire-bytes.ts'

const PRODUCE = 0
const FETCH = 1
const TOPIC = 2
const ALL_REPLICAS = -1
const PRODUCE_MS = 10_000

function bytesOf(reader: ReaderLike): WireReader {
  return new WireReader(reader.buffer.slice(reader.position, reader.length))
}

function send<T>(
  library: KafkaLibrary,
  connection: ConnectionLike,
  api: number,
  version: number,
  body: WireWriter,
  parse: (reader: WireReader) => T,
): Promise<T> {
  return new Promise((resolve, reject) => {
    connection.send(
      api,
      version,
      () => library.Writer.create().append(body.bytes),
      (_correlation, _api, _version, reader) => parse(bytesOf(reader)),
      true,
      true,
      (error, response) => (error === null || error === undefined ? resolve(response) : reject(error)),
    )
  })
}

export interface Produced {
  /** Offset of the first record. */
  readonly base: number
  /** When the leader stored the records, by its clock; −1 if the topic keeps the writers' times. */
  readonly timeMs: number
}

/** Store a batch. Answers when all in-sync replicas have it. @throws KafkaError */
export function produce(
  library: KafkaLibrary,
  connection: ConnectionLike,
  topic: string,
  batch: Buffer,
): Promise<Produced> {
  const body = new WireWriter(batch.length + 300)
  body.compactString(null).int16(ALL_REPLICAS).int32(PRODUCE_MS)
  body.unsigned(2).compactString(topic)
  body
    .unsigned(2)
    .int32(0)
    .unsigned(batch.length + 1)
    .raw(batch)
    .tags()
  body.tags().tags()
  return send(library, connection, PRODUCE, 9, body, (reader) => {
    const [answers] = reader.array(() => {
      reader.compactString()
      const partitions = reader.array(() => producedOf(reader))
      reader.tags()
      return partitions
    })
    const answer = answers?.[0]
    if (answer === undefined)
      throw new KafkaError(0, 'a produce request was answered without its partition', { broken: true })
    if (answer.code !== 0) throw new KafkaError(answer.code, answer.message)
    return answer
  })
}

function producedOf(reader: WireReader): Produced & { readonly code: number; readonly message: string } {
  reader.int32()
  const code = reader.int16()
  const base = reader.int64()
  const timeMs = reader.int64()
  reader.int64()
  const reasons = reader.array(() => {
    reader.int32()
    const reason = reader.compactString()
    reader.tags()
    return reason
  })
  const message = reader.compactString() ?? reasons.find((reason) => reason !== null) ?? `Kafka's error ${code}`
  reader.tags()
  return { code, base, timeMs, message }
}

/** From where to read in a topic. */
export interface FetchFrom {
  readonly topic: string
  readonly offset: number
}

export interface Fetched {
  readonly topic: string
  readonly code: number
  /** The offset after the last record that all in-sync replicas have. */
  readonly next: number
  /** The oldest offset that is kept. */
  readonly first: number
  readonly bytes: Buffer
}

const NOTHING = Buffer.alloc(0)

/** Read record batches of topics. If there are none, wait for up to `waitMs`. */
export function fetch(
  library: KafkaLibrary,
  connection: ConnectionLike,
  wanted: readonly FetchFrom[],
  waitMs: number,
  bytes: number,
): Promise<Fetched[]> {
  const body = new WireWriter(200 + wanted.length * 100)
  // Read uncommitted: Millrace writes no transactions. Events of other clients are read before their transactions
  // commit.
  body.int32(-1).int32(waitMs).int32(1).int32(bytes).int8(0).int32(0).int32(-1)
  body.unsigned(wanted.length + 1)
  for (const { topic, offset } of wanted) {
    body.compactString(topic).unsigned(2)
    body.int32(0).int32(-1).int64(offset).int32(-1).int64(-1).int32(bytes).tags().tags()
  }
  body.unsigned(1).compactString('').tags()
  return send(library, connection, FETCH, 12, body, (reader) => {
    reader.int32()
    const code = reader.int16()
    reader.int32()
    if (code !== 0) throw new KafkaError(code, `Kafka's error ${code} of a fetch`)
    return reader.array(() => {
      const topic = reader.compactString() ?? ''
      const [answer] = reader.array(() => fetchedOf(reader, topic))
      reader.tags()
      return answer as Fetched
    })
  })
}

function fetchedOf(reader: WireReader, topic: string): Fetched {
  reader.int32()
  const code = reader.int16()
  const next = reader.int64()
  reader.int64()
  const first = reader.int64()
  reader.array(() => {
    reader.int64()
    reader.int64()
    reader.tags()
  })
  reader.int32()
  const size = reader.unsigned() - 1
  const bytes = size > 0 ? reader.take(size) : NOTHING
  reader.tags()
  return { topic, code, next, first, bytes }
}

/** Times that stand for the two ends of a log in ListOffsets. */
export const LATEST = -1
export const EARLIEST = -2

/** The offset of the first record at or after a time, or at an end; −1 if there is none. */
export async function offsetAt(
  library: KafkaLibrary,
  connection: ConnectionLike,
  topic: string,
  timeMs: number,
): Promise<number> {
  const question = {
    name: topic,
    partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: BigInt(timeMs) }],
  } as const
  const { topics } = await library.listOffsetsV7.api.async(connection, -1, 0, [question])
  return Number(topics[0]?.partitions[0]?.offset ?? -1n)
}

export interface TopicPlan {
  readonly name: string
  /** −1: the brokers' default. */
  readonly replicas: number
  readonly configs: Readonly<Record<string, string>>
}

export async function createTopics(
  library: KafkaLibrary,
  connection: ConnectionLike,
  topics: readonly TopicPlan[],
  timeoutMs: number,
): Promise<void> {
  const plans = topics.map(({ name, replicas, configs }) => ({
    name,
    numPartitions: 1,
    replicationFactor: replicas,
    assignments: [],
    configs: Object.entries(configs).map(([config, value]) => ({ name: config, value })),
  }))
  await library.createTopicsV7.api.async(connection, plans, timeoutMs, false)
}

/** Set configs of a topic. An empty text resets one to the brokers' default. */
export async function alterTopic(
  library: KafkaLibrary,
  connection: ConnectionLike,
  topic: string,
  configs: Readonly<Record<string, string>>,
): Promise<void> {
  const changes = Object.entries(configs).map(([name, value]) => ({
    name,
    configOperation: value === '' ? 1 : 0,
    value,
  }))
  await library.incrementalAlterConfigsV1.api.async(
    connection,
    [{ resourceType: TOPIC, resourceName: topic, configs: changes }],
    false,
  )
}

/** Effective configs of topics, by topic. */
export async function topicConfigs(
  library: KafkaLibrary,
  connection: ConnectionLike,
  topics: readonly string[],
  names: readonly string[],
): Promise<Map<string, Map<string, string>>> {
  const questions = topics.map((topic) => ({ resourceType: TOPIC, resourceName: topic, configurationKeys: names }))
  const { results } = await library.describeConfigsV4.api.async(connection, questions, false, false)
  return new Map(
    results.map(({ resourceName, configs }) => [
      resourceName,
      new Map(configs.map(({ name, value }) => [name, value ?? ''])),
    ]),
  )
}

export async function deleteTopic(
  library: KafkaLibrary,
  connection: ConnectionLike,
  topic: string,
  timeoutMs: number,
): Promise<void> {
  await library.deleteTopicsV6.api.async(connection, [{ name: topic }], timeoutMs)
}

export async function deleteRecords(
  library: KafkaLibrary,
  connection: ConnectionLike,
  topic: string,
  before: number,
  timeoutMs: number,
): Promise<void> {
  await library.deleteRecordsV2.api.async(
    connection,
    [{ name: topic, partitions: [{ partitionIndex: 0, offset: BigInt(before) }] }],
    timeoutMs,
  )
}

/** The size of a topic on the disks of the broker that is asked, in bytes. */
export async function topicBytes(library: KafkaLibrary, connection: ConnectionLike, topic: string): Promise<number> {
  const { results } = await library.describeLogDirsV4.api.async(connection, [{ name: topic, partitions: [0] }])
  let bytes = 0
  for (const { topics } of results)
    for (const { partitions } of topics) for (const { partitionSize } of partitions) bytes += Number(partitionSize)
  return bytes
}
