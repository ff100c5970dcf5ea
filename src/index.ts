/**
 * Millrace: events, channels, consumers and handlers on a durable broker that starts inside the process.
 */
import type { Broker } from './broker/broker.ts'
import { type ConnectOptions, connectWith, type EngineOpener } from './broker/connect.ts'
import type { SchedulesLoader } from './broker/later-schedules.ts'

const openRemote: EngineOpener = async (url, options) =>
  (await import('./engines/remote/open.ts')).openRemoteEngine(url, options)
const openNats: EngineOpener = async (url, options) =>
  (await import('./engines/nats/open.ts')).openNatsEngine(url, options)
const openRedis: EngineOpener = async (url, options) =>
  (await import('./engines/redis/open.ts')).openRedisEngine(url, options)
const openPostgres: EngineOpener = async (url, options) =>
  (await import('./engines/postgres/open.ts')).openPostgresEngine(url, options)
const openFile: EngineOpener = async (url, options) => {
  if (options.readOnly === true) return (await import('./engines/embedded/open.ts')).openFileReader(url)
  return (await import('./engines/embedded/shared-directory.ts')).openSharedEngine(url, options)
}
const loadSchedules: SchedulesLoader = async (broker, core) =>
  new (await import('./schedule/schedules.ts')).BrokerSchedules(broker, core)

/**
 * Connect to a broker. The contract (docs/contract.md) is the same on each; `broker.describe()` says how this one holds
 * it.
 *
 * - `memory:` is in this process. Its data is gone when the broker closes.
 * - `file:./data` is durable. The first process owns the directory; further processes attach to it, and one of them
 *   takes over when the owner dies.
 * - `ws://host`, `wss://host`, `unix:PATH`: a Millrace server.
 * - `nats://host`, `tls://host`: NATS JetStream. `redis://host`, `rediss://host`: Redis. `kafka://host`: Kafka.
 *   `postgres://host/database`: Postgres. Several hosts are joined by commas. The pages in docs/engines list the other parts of the URL. Each engine needs
 *   its client library, which is loaded when its URL is used.
 *
 * @throws UNKNOWN_ENGINE when the URL has another scheme · INVALID_OPTION when an option or a part of the URL is wrong
 *
 * Of `file:`: DIRECTORY_IN_USE when the directory's owner cannot be reached · DIRECTORY_UNUSABLE when the system
 * refuses access · DATA_MISSING when `readOnly` finds no data · DATA_DAMAGED when a file is damaged · DATA_FOREIGN when
 * there are other files, or data of a newer version · DISK_FULL when there is no space · TOO_MANY_FILES when the
 * process has too many files open
 *
 * Of servers: UNAVAILABLE when none of them answers in time · UNAUTHENTICATED when they do not accept the credentials ·
 * FORBIDDEN when the credentials lack a permission · CLAUSE_REFUSED when a setting of the servers breaks the contract ·
 * DISK_FULL or STORE_FAILED when they cannot store what the engine needs · MISSING_DEPENDENCY when the client library
 * is missing, or has an unsupported version
 * @example
 * ```ts
 * import { connect, stream } from 'millrace'
 *
 * const broker = await connect('file:./data')
 * await broker.publish(stream('greetings'), { type: 'greeting', data: 'hello' })
 * await broker.close()
 * ```
 */
export const connect: (url: string | URL, options?: ConnectOptions) => Promise<Broker> = connectWith(
  {
    memory: { open: async (url, options) => (await import('./engines/embedded/open.ts')).openMemoryUrl(url, options) },
    file: { open: openFile, takes: ['readOnly'] },
    ws: { open: openRemote, takes: ['token'] },
    wss: { open: openRemote, takes: ['token'] },
    unix: { open: openRemote },
    nats: { open: openNats },
    tls: { open: openNats },
    redis: { open: openRedis },
    rediss: { open: openRedis },
    postgres: { open: openPostgres },
    postgresql: { open: openPostgres },
    kafka: { open: async (url, options) => (await import('./engines/kafka/open.ts')).openKafkaEngine(url, options) },
  },
  loadSchedules,
)

export {
  type ErrorCode,
  type ErrorDetails,
  type ErrorDetailsOf,
  isMillraceError,
  MillraceError,
} from './base/errors.ts'
export type { TimeText } from './base/time-text.ts'
export { bytes, type Duration, duration, type Size } from './base/units.ts'
export type { ActionOptions } from './broker/action-options.ts'
export type { Backup, Broker, Publishable, PublishOptions, ReceiptOf, UntypedEvent } from './broker/broker.ts'
export type { Capabilities, Capability, Clause } from './broker/capabilities.ts'
export type { WalkProgress } from './broker/causality/causal-walk.ts'
export type { RelatedEvent, RelatedEvents, RelatedOptions } from './broker/causality/related-events.ts'
export type { ConnectOptions } from './broker/connect.ts'
export type { DelayedEvent, DelayedQuery } from './broker/delays.ts'
export type {
  Alarm,
  BrokerDescription,
  ChannelDescription,
  ChannelState,
  ConsumerDescription,
  ConsumerPause,
  ConsumerPosition,
  DeadLetter,
  DeadLetterQuery,
  EventPlace,
  LetterPlace,
} from './broker/description.ts'
export type { Bounds, OnDead } from './broker/engine.ts'
export type { Failure } from './broker/failure.ts'
export type {
  ChannelHandle,
  ConsumerHandle,
  DeadLetters,
  DelayedEvents,
  PauseOptions,
  RewindOptions,
} from './broker/handles.ts'
export type { LimitChange, LimitSize, LimitState } from './broker/limits.ts'
export type { Logger } from './broker/logger.ts'
export type { From } from './broker/position.ts'
export type { Readable, ReadOptions, TailedEvent } from './broker/reading.ts'
export type { Receipt, ScheduledReceipt, StoredReceipt } from './broker/receipt.ts'
export type { ReplyProblem } from './broker/replies.ts'
export type {
  Replies,
  ReplyOf,
  RequestCounts,
  RequestManyOptions,
  RequestOptions,
  RequestProblem,
} from './broker/request-types.ts'
export type {
  DstPolicy,
  LastRun,
  MakeEvent,
  MissedPolicy,
  RunningSchedules,
  ScheduleChange,
  ScheduleDescription,
  ScheduledRun,
  Schedules,
  When,
} from './broker/schedules.ts'
export type {
  FollowOptions,
  Table,
  TableChange,
  TableEntry,
  TableQuery,
  TableSource,
  TableValue,
} from './broker/table.ts'
export {
  type Channel,
  type ChannelOptions,
  type Queue,
  queue,
  type Retention,
  type Stream,
  stream,
} from './channel/channel.ts'
export { type Consumer, consumer } from './consumer/consumer.ts'
export type {
  BatchHandler,
  BatchItem,
  BatchOptions,
  BatchOutcome,
  ConsumerHooks,
  ConsumerOptions,
  ConsumerStall,
  ContextLog,
  Emit,
  EventOf,
  FailedAttempt,
  Handler,
  HandlerContext,
  Middleware,
  MiddlewareContext,
  Reply,
  RetriedAttempt,
  RetryOptions,
  Running,
  RunSummary,
  StateContext,
  TxOutcome,
} from './consumer/consumer-types.ts'
export type { ConcurrencyLimit, RateLimit } from './consumer/limit-types.ts'
export type { EarlierState, StateOptions } from './consumer/state/state-types.ts'
export {
  attribute,
  type CloudEvent,
  type EventAttributes,
  type NewEvent,
  type StoredEvent,
} from './event/cloud-event.ts'
export { type EventDefinition, type EventFilter, type EventOptions, event } from './event/event.ts'
export { decodeHttp, type HttpHeaders } from './event/http/decode-http.ts'
export { encodeHttp, type HttpMessage } from './event/http/encode-http.ts'
export { validateCloudEvent } from './event/validate-cloud-event.ts'
export { type InspectedInstance, instances, type ProcessInstances } from './process/instances.ts'
export { type Process, process } from './process/process.ts'
export type { FiredTimer } from './process/process-plan.ts'
export {
  type Correlation,
  type FirstStep,
  type InstanceTimer,
  type Missing,
  type Outgoing,
  type ProcessInstance,
  type ProcessOptions,
  type Step,
  to,
} from './process/process-types.ts'
