/**
 * The part of the library @platformatic/kafka that is used: its connections (TCP, TLS, SASL, framing) and the requests
 * without records.
 *
 * It is described here by its shape and not by the library's types, because the same code runs with its major versions
 * 1 (Node 20) and 2 (Node 22.22 and later).
 */
import { loadClient } from '../../broker/client-library.ts'

export interface WriterLike {
  append(bytes: Buffer): WriterLike
}

/** The rest of a response. `buffer` may have several pieces. */
export interface ReaderLike {
  readonly position: number
  readonly length: number
  readonly buffer: { slice(start: number, end: number): Buffer }
}

export interface ConnectionLike {
  connect(host: string, port: number): Promise<void>
  close(): Promise<void>
  isConnected(): boolean
  readonly socket: { destroy(): void } | undefined
  on(event: 'error' | 'close', listener: (error?: Error) => void): unknown
  send<T>(
    apiKey: number,
    apiVersion: number,
    createPayload: () => WriterLike,
    parse: (correlationId: number, apiKey: number, apiVersion: number, reader: ReaderLike) => T,
    requestTags: boolean,
    responseTags: boolean,
    callback: (error: Error | null, response: T) => void,
  ): void
}

interface Api<Arguments extends readonly unknown[], Response> {
  async(connection: ConnectionLike, ...args: Arguments): Promise<Response>
}

export interface TopicMetadata {
  readonly errorCode: number
  readonly name: string | null
  readonly partitions: readonly {
    readonly partitionIndex: number
    readonly leaderId: number
    readonly replicaNodes: readonly number[]
  }[]
}

export interface MetadataAnswer {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[]
  readonly controllerId: number
  readonly topics: readonly TopicMetadata[]
}

interface NewTopic {
  readonly name: string
  readonly numPartitions: number
  readonly replicationFactor: number
  readonly assignments: readonly never[]
  readonly configs: readonly { readonly name: string; readonly value: string }[]
}

interface ConfigChange {
  readonly resourceType: number
  readonly resourceName: string
  readonly configs: readonly { readonly name: string; readonly configOperation: number; readonly value: string }[]
}

interface ConfigQuestion {
  readonly resourceType: number
  readonly resourceName: string
  readonly configurationKeys: readonly string[]
}

interface ConfigAnswer {
  readonly results: readonly {
    readonly resourceName: string
    readonly configs: readonly { readonly name: string; readonly value: string | null }[]
  }[]
}

type OffsetQuestion = readonly [
  {
    readonly name: string
    readonly partitions: readonly [
      { readonly partitionIndex: number; readonly currentLeaderEpoch: number; readonly timestamp: bigint },
    ]
  },
]

interface OffsetAnswer {
  readonly topics: readonly { readonly partitions: readonly { readonly offset: bigint }[] }[]
}

export interface KafkaLibrary {
  readonly Connection: new (clientId: string, options: object) => ConnectionLike
  readonly Writer: { create(): WriterLike }
  crc32c(bytes: Uint8Array): number
  readonly compressionsAlgorithmsByBitmask: Readonly<Record<number, { decompressSync(bytes: Buffer): Buffer }>>
  readonly metadataV12: {
    readonly api: Api<[topics: readonly string[] | null, create: boolean, operations: boolean], MetadataAnswer>
  }
  readonly createTopicsV7: {
    readonly api: Api<[topics: readonly NewTopic[], timeoutMs: number, validateOnly: boolean], unknown>
  }
  readonly deleteTopicsV6: {
    readonly api: Api<[topics: readonly { readonly name: string }[], timeoutMs: number], unknown>
  }
  readonly deleteRecordsV2: {
    readonly api: Api<
      [
        topics: readonly {
          readonly name: string
          readonly partitions: readonly { readonly partitionIndex: number; readonly offset: bigint }[]
        }[],
        timeoutMs: number,
      ],
      unknown
    >
  }
  readonly incrementalAlterConfigsV1: {
    readonly api: Api<[changes: readonly ConfigChange[], validateOnly: boolean], unknown>
  }
  readonly describeConfigsV4: {
    readonly api: Api<[questions: readonly ConfigQuestion[], synonyms: boolean, documentation: boolean], ConfigAnswer>
  }
  readonly describeLogDirsV4: {
    readonly api: Api<
      [topics: readonly { readonly name: string; readonly partitions: readonly number[] }[]],
      {
        readonly results: readonly {
          readonly topics: readonly { readonly partitions: readonly { readonly partitionSize: bigint }[] }[]
        }[]
      }
    >
  }
  readonly listOffsetsV7: {
    readonly api: Api<[replica: number, isolation: number, topics: OffsetQuestion], OffsetAnswer>
  }
  readonly initProducerIdV4: {
    readonly api: Api<
      [transactionalId: string | null, timeoutMs: number, producerId: bigint, epoch: number],
      { readonly producerId: bigint; readonly producerEpoch: number }
    >
  }
}

export function loadKafka(): Promise<KafkaLibrary> {
  return loadClient<KafkaLibrary>('@platformatic/kafka')
}
