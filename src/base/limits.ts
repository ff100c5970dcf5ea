/**
 * Every limit and default of Millrace, in one place. `docs/limits.md` shows the same table; a test compares them.
 */
export const LIMITS = {
  /** Longest name of a channel, consumer or event type, and of a secret that a rule names, in characters. */
  nameCharsMax: 200,
  /** Consumers of a channel in one answer to why they did not handle an event. */
  whyConsumersMax: 100,
  /** Newest offsets of a channel that are searched for an event's id, where it is asked why it is not handled. */
  whyLookMax: 100_000,
  /** Events that wait for their next attempt, listed where it is asked why a later event is not delivered. */
  inspectedRetriesMax: 20,
  /** Longest reason for pausing a consumer, in characters. */
  reasonCharsMax: 1000,
  /** Delayed events in one list from `delayed.list()`, unless the query has a limit. Over HTTP: 100. */
  delayedListDefault: 1000,
  /** Most delayed events in one list; the next page has the others. */
  delayedListMax: 10_000,
  /** Longest text of an attribute of an event (id, source, subject, extensions and others), in characters. */
  attributeCharsMax: 4096,
  /** Longest name of an extension attribute, in characters. */
  attributeNameCharsMax: 100,
  /** Longest key, in UTF-8 bytes. */
  keyBytesMax: 1024,
  /** Characters of the states of keys that an engine keeps in memory, of all consumers together. */
  stateCacheChars: 16_777_216,
  /** Largest state of a key unless `maxBytes` says otherwise, as the CloudEvents JSON that is stored. */
  stateBytesDefault: 1_048_576,
  /** How long it can be read that the state of a key was deleted. Then its last trace is removed. */
  stateDeletedMs: 3_600_000,
  /** Most entries of a table that are read at a time. */
  tablePageMax: 1000,
  /** Most attributes of one event. */
  eventAttributesMax: 256,
  /** Deepest nesting of an event's data, and of a rule's template. */
  dataDepthMax: 128,
  /**
   * Members of all objects in an event's data together, if the event comes over HTTP, over a connection, or from a
   * plain client of another broker.
   */
  dataNamesMax: 100_000,
  /**
   * Values in the data of an event that comes over HTTP, over a connection, or from a plain client of another broker;
   * items of arrays count.
   */
  dataValuesMax: 1_000_000,
  /** Longest message of an error, and longest text in its details, in characters. */
  errorTextCharsMax: 4096,
  /** Largest event, as CloudEvents JSON, unless its channel says otherwise. */
  eventBytesDefault: 1_048_576,
  /** Largest event that any channel may allow. */
  eventBytesMax: 16_777_216,
  /** The smallest limit on the size of its events that a channel or a webhook may set. */
  eventBytesMin: 256,
  /**
   * Bytes of the JSON Schemas of a channel's events that are stored with its declaration. Types are taken in the order
   * of their names; a type whose schema does not fit is stored without one.
   */
  keptSchemaBytesMax: 65_536,
  /**
   * Earlier definitions of an event type whose fingerprints a declaration keeps, so that code with one of them starts:
   * an old process during a deployment, or a rollback. In a channel with more than 100 types it is fewer.
   */
  registeredDefinitionsMax: 10,
  /** The same, for all types of a channel together; each type has at least one. */
  registeredInChannelMax: 1000,
  /** Dead letters in a list if its query has no limit. */
  deadLetterListDefault: 1000,
  /** Places of dead letters in a query. */
  deadLetterPlacesMax: 1000,
  /** Retries of a consumer that one answer lists. */
  listedRetriesMax: 100,
  /** Places that are made from one schema to mask sensitive fields; beyond this number a place counts as sensitive. */
  sensitivePlacesMax: 10_000,
  /** A read that goes on looks this often whether the channel's schemas mark other fields as sensitive now. */
  sensitiveLookMs: 1000,
  /** Masked values of one event that are also masked where its attributes and errors quote them. */
  sensitiveValuesMax: 1000,
  /** Most events in one batch publish. */
  batchEventsMax: 65_536,
  /** Most bytes of events in one batch publish. */
  batchBytesMax: 8_388_608,
  /** Most event bytes of one group commit (one larger event goes alone). */
  commitBytesMax: 4_194_304,
  /**
   * Event bytes accepted by `publish` and waiting for their commit: for each broker; on NATS, Kafka, Redis and Postgres
   * for each channel; for a `ws:` or `unix:` client in characters. More is refused with BACKPRESSURE.
   */
  pendingBytesMax: 67_108_864,
  /** Events that a relay publishes together from an outbox, at most. */
  outboxBatchMax: 10_000,
  /** Size of the tables of one slot of an outbox in Postgres, after which the next slot is used. */
  outboxSlotBytes: 67_108_864,
  /** Published rows of an outbox in SQLite that are deleted together. */
  outboxTidyRows: 10_000,
  /** How long the inbox of a database remembers that a consumer has handled an event by `ctx.tx`. */
  inboxWindowMs: 604_800_000,
  /** How often each process that uses an inbox deletes rows that are older. */
  inboxForgetMs: 600_000,
  /** Rows of an inbox that are deleted at once. */
  inboxForgetRows: 5000,
  /** Events that a walk through causes or effects reads, unless it is given another number. */
  causalScanDefault: 100_000,
  /** Most events that a walk through causes or effects may read. */
  causalScanMax: 10_000_000,
  /** Events that a walk through causes or effects finds, unless it is given another number. */
  causalFoundDefault: 1000,
  /** Most events that a walk through causes or effects may find. */
  causalFoundMax: 10_000,
  /** Channels that a walk through causes or effects reads at once. */
  causalReadersMax: 8,
  /** Events that a walk through causes or effects keeps until it knows whether they belong to the tree. */
  causalWaitingMax: 10_000,
  /** Chains with a correlation id of their own that wait for their pass of a walk through causes or effects. */
  causalChainsMax: 100,
  /** Requests for causes or effects that a gateway answers at once. */
  gatewayWalksMax: 16,
  /** Searches that a gateway runs at once. Each holds up to `gatewayPageBytesMax` of hits. */
  gatewaySearchesMax: 32,
  /**
   * Channels, and pairs of consumer and channel, with metrics of their own; the others are counted together as `other`.
   */
  metricSeriesMax: 1000,
  /** Ids that a channel remembers for deduplication, up to twice as many, if they are not too old. */
  dedupeCountDefault: 100_000,
  /** How long a channel remembers an id for deduplication, at most. */
  dedupeAgeMsDefault: 600_000,
  /**
   * How long a Redis or Postgres server may take to answer a command before it counts as hung and the connection is
   * made again; and how long a Redis server may take to have a write on the disks and replicas that `durable` asks for.
   */
  serverAnswerMs: 5000,
  /** Handlers of one consumer instance, or requests of a rule action or push subscription, that run at once. */
  concurrencyDefault: 16,
  /** Largest `concurrency` of a consumer instance or a rule action. */
  concurrencyMax: 10_000,
  /**
   * Offsets that a consumer may have taken and not settled in one channel, on NATS, Kafka, Redis and Postgres in one
   * partition (in flight, waiting for their key, in backoff). The same number of events, counted apart, may wait behind
   * dead letters.
   */
  outstandingMax: 100_000,
  /**
   * A server of an older version cannot hold an event in a version that its client does not know: it tries the event
   * again after this time.
   */
  versionRetryMs: 60_000,
  /**
   * Delayed events whose ids a process knows on NATS, Kafka, Redis and Postgres. Beyond this number, duplicates of the
   * oldest are detected only when they become due.
   */
  waitingIdsMax: 1_000_000,
  /**
   * Bytes of a channel's log that a process keeps in memory for its consumers on Kafka, which all read the same topic.
   */
  kafkaCacheBytes: 8_388_608,
  /** Bytes of events read ahead for a consumer, and about the largest part of a log that is read at once. */
  readAheadBytes: 1_048_576,
  /** Attempts at an event before it is a dead letter. */
  attemptsDefault: 8,
  /** Largest `retry.attempts`. */
  attemptsMax: 1000,
  /** Longest wait before the second attempt; it doubles with each further attempt. */
  backoffMinMsDefault: 1000,
  /** Longest wait between two attempts. */
  backoffMaxMsDefault: 600_000,
  /** An instance that has not renewed its lease for this time loses its deliveries to others. */
  leaseMsDefault: 30_000,
  /** Shortest `lease`. */
  leaseMsMin: 50,
  /** How long `stop()` waits for running handlers before it hands their events back. */
  drainMsDefault: 30_000,
  /** A consumer that has work and makes no progress for this time is reported as stalled. */
  stallMsDefault: 30_000,
  /** The largest number in a limit of a consumer (clause 21). */
  limitMax: 1_000_000,
  /** Failed attempts in a row after which a circuit breaker opens, unless it says another number. */
  breakerFailuresDefault: 5,
  /** Attempts that a circuit breaker counts, at most. */
  breakerAttemptsMax: 10_000,
  /** How long a circuit breaker is open before it tries an event. */
  breakerWaitMsDefault: 30_000,
  /** The longest such time after probes that failed, unless the consumer says another one. */
  breakerMaxMsDefault: 300_000,
  /** Similar lines of the log are counted for this time and then written as one. */
  logRepeatMs: 10_000,
  /** Kinds of lines that the log tells apart at once; the others are counted together. */
  logKindsMax: 200,
  /** A delivery that is not settled within this time is recorded as in flight, with the next commit. */
  inFlightRecordMs: 5,
  /** How long `request` waits for a reply, unless it is given a timeout. */
  requestMsDefault: 30_000,
  /** Longest timeout of a request. */
  requestMsMax: 300_000,
  /** Requests of one broker that wait for replies, and answers to one `requestMany`. */
  requestsMax: 10_000,
  /** A broker that waits for no reply any more stops reading replies after this time. */
  requestIdleMs: 30_000,
  /** Schedules of one broker. */
  schedulesMax: 10_000,
  /** Longest name of a schedule, in characters. */
  scheduleNameCharsMax: 100,
  /** Longest cron expression, in characters. */
  cronCharsMax: 1000,
  /** Shortest interval of a schedule. */
  scheduleMsMin: 1000,
  /** Largest jitter of a schedule. */
  scheduleJitterMsMax: 86_400_000,
  /** A time of a schedule that passed by more than this is missed: the schedule's policy decides what happens to it. */
  scheduleLateMs: 60_000,
  /** The last moment that a time of a schedule may be at: the end of the year 9999. */
  scheduleTimeMsMax: 253_402_300_799_999,
  /** Longest time ahead that `delay` or `at` may name, and longest wait between two attempts. */
  delayMsMax: 315_360_000_000,
  /** Largest batch of `onBatch`. */
  handlerBatchMax: 10_000,
  /** Deepest nesting of an event pattern. */
  patternDepthMax: 64,
  /** Most combinations that all `$or`s of one pattern may multiply to. */
  patternCombinationsMax: 1000,
  /** Most fields of one pattern, each counted once for every `$or` combination that has it. */
  patternFieldsMax: 10_000,
  /** Most alternatives of one pattern, in all of its fields together. */
  patternAlternativesMax: 10_000,
  /** Longest text in a pattern, in characters. */
  patternTextCharsMax: 16_384,
  /** Most `*` in one wildcard. */
  patternWildcardStarsMax: 5,
  /** Longest CloudEvents SQL expression, in characters. */
  expressionCharsMax: 16_384,
  /** Deepest nesting of parentheses, function calls and signs in an expression, and of filters in each other. */
  expressionDepthMax: 64,
  /** Longest pattern of one LIKE, in characters. */
  expressionLikeCharsMax: 1024,
  /** Longest text that CONCAT and CONCAT_WS make, in characters. */
  expressionTextCharsMax: 65_536,
  /** Longest name of a rule, in characters. */
  ruleNameCharsMax: 100,
  /** Largest rule, in characters of its JSON. */
  ruleCharsMax: 262_144,
  /** Channels that one rule may name. */
  ruleChannelsMax: 32,
  /** Actions of one rule. */
  ruleActionsMax: 20,
  /**
   * Rules and published replies of subscribers that an event may have come through, each caused by the one before. The
   * next one fails, so that rules that trigger each other end.
   */
  ruleHopsMax: 16,
  /** Events that a rules router has in flight at once, for each channel or wildcard that rules name. */
  ruleRouterEventsMax: 1024,
  /** Events that one publish writes to `$rules`, and ended versions of rules that are looked at together. */
  ruleBatchMax: 1000,
  /** Longest text in a template, in characters. */
  templateCharsMax: 16_384,
  /** Expressions in one template. */
  templateExpressionsMax: 1000,
  /** Longest text that a template or one of its functions makes, in characters. */
  templateTextCharsMax: 1_048_576,
  /** Default timeout of an HTTP request made by an `http` action or a push subscription. */
  httpTimeoutMsDefault: 15_000,
  /** Longest wait that a receiver may ask for with Retry-After. */
  httpRetryAfterMsMax: 86_400_000,
  /** Bytes of a receiver's answer that are read, if it is not a reply; of a refusal, the dead letter keeps them. */
  httpAnswerBytesMax: 1024,
  /**
   * How long an idle connection to a receiver of an `http` action or a push subscription is kept for the next event.
   */
  httpIdleMs: 4000,
  /** Largest file of a watched folder of rules. */
  ruleFileBytesMax: 1_048_576,
  /** How often a watched folder is scanned, in addition to the operating system's notifications. */
  ruleFolderMs: 1000,
  /** Largest request body that the gateway takes. */
  gatewayBodyBytesMax: 16_777_216,
  /** Values in the JSON body of a request that is not an event. */
  gatewayJsonValuesMax: 100_000,
  /** Bytes of all request bodies that the gateway holds at once; more is refused with BACKPRESSURE. */
  gatewayBodiesBytesMax: 134_217_728,
  /** Bytes of request bodies that the gateway holds at once for one caller. */
  gatewayCallerBytesMax: 67_108_864,
  /** Requests a second that the gateway takes from all callers together. */
  gatewayRequestsPerSecond: 200_000,
  /** Requests a second that the gateway takes from one caller. */
  gatewayCallerRequestsPerSecond: 100_000,
  /** Requests, streams and sockets open at once, of all callers together. */
  gatewayOpenMax: 20_000,
  /** Requests, streams and sockets open at once, of one caller. */
  gatewayCallerOpenMax: 10_000,
  /** TCP connections open at once. */
  gatewayConnectionsMax: 20_000,
  /** Events of one page of a read, or hits of one search, if the request gives no `limit`. */
  gatewayPageEventsDefault: 100,
  /** Most events of one page of a read, or hits of one search. */
  gatewayPageEventsMax: 1000,
  /** Most bytes of events in one page of a read, or in the answer to one pull (one larger event goes alone). */
  gatewayPageBytesMax: 8_388_608,
  /** Channels of one event stream (Server-Sent Events), and of one pulled consumer. */
  gatewayStreamChannelsMax: 32,
  /** Event streams open at once. */
  gatewayStreamsMax: 5000,
  /**
   * Bytes that may wait for the client of one event stream. The gateway reads no more events for it until the client
   * has taken some.
   */
  gatewayStreamBytesMax: 65_536,
  /** A silent event stream sends a heartbeat after this time. */
  gatewayHeartbeatMs: 15_000,
  /** An event stream is closed if its client takes nothing for this time although something waits for it. */
  gatewayStallMs: 30_000,
  /**
   * How often open requests, streams and sockets check that their credentials are still valid, and how often the file
   * of tokens is read.
   */
  gatewayCredentialsMs: 500,
  /** The shortest time between two updates of the console's flow; longer if describing the broker takes long. */
  flowLookMs: 250,
  /** New events of one channel that an update of the flow reads, to learn where they come from. */
  flowSampleMax: 200,
  /** Bytes of one channel's events that an update of the flow reads. */
  flowSampleBytes: 262_144,
  /** Channels from which an update of the flow reads events. */
  flowChannelsMax: 32,
  /** Origins that the flow keeps for one channel. */
  flowOriginsMax: 100,
  /** Event ids that the flow remembers, to find what caused an event. */
  flowIdsMax: 50_000,
  /** How often what was seen of the flow is saved, if it has changed. */
  flowSaveMs: 30_000,
  /** Characters of the origins, and of the parts, that are saved; of more, those that were seen last. */
  flowSavedChars: 1_048_576,
  /** How often the flow is looked at while no client watches it. */
  flowIdleMs: 60_000,
  /** Parts of the flow that no longer exist stay visible for this time. */
  flowFadeMs: 600_000,
  /** The step in which figures of channels and consumers are recorded for a day. */
  historyDayStepMs: 10_000,
  /** How many of these steps are kept: 26 hours, so that the last hours can be compared with those of yesterday. */
  historyDaySlots: 9360,
  /** The step in which they are kept for a month. */
  historyMonthStepMs: 300_000,
  /** How many of these steps are kept: 30 days. */
  historyMonthSlots: 8640,
  /** Channels and consumers together whose figures are recorded, unless the gateway is given another number. */
  historyObjectsMax: 1000,
  /** Bytes of all recorded figures in memory. Beyond it, the oldest hours of the day are forgotten. */
  historyBytesMax: 134_217_728,
  /** Points of one answer with the history of a channel or a consumer. */
  historyPointsMax: 2000,
  /** Slots that wait to be saved, while the engine takes no events. */
  historyUnsavedMax: 360,
  /** Newest events of a channel that the catalogue reads, to learn who publishes them and to find examples. */
  catalogueEventsMax: 200,
  /** Bytes of one channel's events that one look of the catalogue reads; the next look reads older ones. */
  catalogueChannelBytes: 262_144,
  /** Bytes of events that one look of the catalogue reads; the next look continues with other channels. */
  catalogueLookBytes: 16_777_216,
  /** Event types of one channel of which the catalogue remembers what it has seen. */
  catalogueTypesMax: 500,
  /** Publishers that the catalogue remembers for one event type in one channel. */
  catalogueMakersMax: 50,
  /** Largest event that the catalogue shows as an example, in characters of its JSON. */
  catalogueExampleChars: 8192,
  /** The gateway answers with the same look of the catalogue for this time. */
  catalogueLookMs: 2000,
  /** Characters of the events of one page of dead letters. A page has one event at least. */
  deadLetterPageChars: 8_388_608,
  /** Dead letters that a redrive, or a count of groups, reads at once. */
  redrivePageMax: 500,
  /** Dead letters that a redrive has given back, and of which it does not know yet whether they are done. */
  redriveOpenMax: 1000,
  /** A redrive stops when, for this time, none of the events that it gave back becomes done or dead again. */
  redriveObserveMs: 30_000,
  /** How often a running redrive stores its state, if nothing else changes. */
  redriveBeatMs: 10_000,
  /** How often a gateway looks for redrives that another gateway's process began and did not end. */
  redriveTendMs: 5000,
  /** Redrives of one broker that run or wait. */
  redriveJobsMax: 10,
  /** Redrives whose results the gateway shows. */
  redriveKeptMax: 100,
  /** Dead letters that came back, of which a redrive keeps the places. */
  redriveReturnsMax: 100,
  /** How long one answer counts dead letters for their groups; the next answer continues. */
  letterGroupsMs: 1000,
  /** Groups of dead letters in one answer. */
  letterGroupsMax: 200,
  /** Events of one channel that the preview of a rewind reads, to count keys. */
  rewindPreviewMax: 20_000,
  /** Consumers that the gateway keeps open for clients that pull. */
  gatewayPullConsumersMax: 1000,
  /** Events that are leased to the clients of one pulled consumer at once, unless a pull says otherwise. */
  gatewayPullLeasesDefault: 100,
  /** Largest number of events that a pull may allow to be leased at once. */
  gatewayPullLeasesMax: 10_000,
  /**
   * Bytes of events that all pulled consumers hold together, leased or fetched for the next pull (one larger event goes
   * alone).
   */
  gatewayPullBytesMax: 134_217_728,
  /** Events of one pull, unless the pull says otherwise. */
  gatewayPullEventsDefault: 10,
  /** Most events of one pull, most settlements of one request, and most emissions of one settlement. */
  gatewayPullEventsMax: 1000,
  /** Longest time that a pull may wait for an event. */
  gatewayPullWaitMsMax: 60_000,
  /** Longest lease of a pulled event; it can be extended. */
  gatewayPullLeaseMsMax: 43_200_000,
  /** Events that were fetched for pulls and not pulled within this time go back to the engine, for other instances. */
  gatewayPullSpareMs: 1000,
  /** A pulled consumer without pulls for this time, and without leased events, is closed. */
  gatewayPullIdleMs: 600_000,
  /** Settled leases that the gateway remembers, so that a settlement that is sent again gets the same answer. */
  gatewayPullSettledMax: 10_000,
  /** Push subscriptions of one broker. */
  pushSubscriptionsMax: 1000,
  /** Requests to one subscriber that may run at once, from each process. */
  pushConcurrencyMax: 256,
  /** Longest time that a subscriber may take to answer. */
  pushTimeoutMsMax: 60_000,
  /** Largest reply of a subscriber. */
  pushReplyBytesMax: 1_048_576,
  /** Longest pause that a subscriber can ask for; after it one event is tried. */
  pushHoldMsMax: 60_000,
  /**
   * How often a gateway looks for subscriptions that were changed elsewhere, and tries to start those that could not be
   * started.
   */
  pushTendMs: 1000,
  /** How old a webhook may be, if its time is signed. */
  webhookToleranceMs: 300_000,
  /** How long a client may take to send its request. */
  gatewayRequestMs: 30_000,
  /** A connection to the gateway is closed when nothing was sent on it for this time. */
  gatewayIdleMs: 120_000,
  /** How long a closing gateway waits for running requests. */
  gatewayDrainMs: 5000,
  /** Largest frame of the wire protocol. */
  wireFrameBytesMax: 67_108_864,
  /** Values in the JSON of one frame from a client. */
  wireJsonValuesMax: 200_000,
  /** Largest first frame of a connection, before the server knows who sends it. */
  wireHelloBytesMax: 65_536,
  /** How long a connection may take to be made, a client to send its first frame, and a server to answer it. */
  wireHelloMs: 10_000,
  /**
   * How often each end of a connection sends a ping. A connection on which nothing came for three of them is closed.
   */
  wireHeartbeatMs: 10_000,
  /** How long a server keeps the session of a lost connection; longer if its leases are longer. */
  wireSessionMs: 60_000,
  /** Most sessions of one server, including those without a connection. */
  wireSessionsMax: 10_000,
  /**
   * Bytes that a session has sent and the other end has not acknowledged. Beyond it, the server sends no more
   * deliveries.
   */
  wireSentBytesMax: 8_388_608,
  /**
   * Bytes of publishes of one session that wait for their commit. Beyond it, the server reads no more until some are
   * durable.
   */
  wirePublishBytesMax: 16_777_216,
  /** Bytes of one read that may be on their way to its reader. */
  wireReadBytes: 2_097_152,
  /** Most subscriptions, and most reads, of one session; most channels of one subscription. */
  wireSubscriptionsMax: 1000,
  /** Most unanswered calls of one session. */
  wireCallsMax: 10_000,
  /**
   * Longest wait before a `ws:` or `unix:` client tries to connect again; it starts at 20 ms and doubles. After a
   * server refused to subscribe again, the wait before the next attempt.
   */
  wireReconnectMsMax: 1000,
  /**
   * Longest wait before a process that shares a data directory tries to connect again; one of these processes becomes
   * the next owner.
   */
  sharedReconnectMsMax: 100,
  /**
   * After a takeover of a data directory: how long the new owner keeps events that were in flight for the processes
   * that were handling them.
   */
  sharedClaimsMs: 1000,
  /** How long the owner of a data directory may take to answer before it counts as silent. */
  sharedAnswerMs: 1000,
  /**
   * Without a connection for this time, calls fail with UNAVAILABLE, and an alarm is raised. Publishes continue to
   * wait.
   */
  wireUnavailableMs: 30_000,
  /** How long `close()` of a remote broker waits for subscriptions to end and for answers to publishes. */
  wireCloseMs: 5000,
  /**
   * How long a call to NATS, Redis or Postgres waits for the servers to answer or to come back, before it fails with
   * UNAVAILABLE. On Kafka the URL says it: `?patience=`.
   */
  brokerPatienceMs: 30_000,
} as const
