/**
 * Every limit and default of Millrace, in one place. `docs/limits.md` shows the same table; a test compares them.
 */
export const LIMITS = {
  /** Longest channel, consumer and event-type name, in characters. */
  nameCharsMax: 200,
  /** Characters of the reason that is given for pausing a consumer. */
  reasonCharsMax: 1000,
  /** Delayed events in one list, where its query does not say how many. */
  delayedListDefault: 1000,
  /** Most delayed events in one list; what is behind them comes with the next page. */
  delayedListMax: 10_000,
  /** Longest event id, source, subject or extension value, in characters. */
  attributeCharsMax: 4096,
  /** Longest name of an extension attribute, in characters. */
  attributeNameCharsMax: 100,
  /** Longest key, in UTF-8 bytes. */
  keyBytesMax: 1024,
  /** Most attributes of one event. */
  eventAttributesMax: 256,
  /** Deepest nesting of an event's data. */
  dataDepthMax: 128,
  /** Members of all objects of an event's data together, where the event comes over HTTP or a connection, or from another broker's plain clients. */
  dataNamesMax: 100_000,
  /** Values in an event's data, items of arrays included, where it comes from there. */
  dataValuesMax: 1_000_000,
  /** Longest message of an error, and longest text in its details, in characters. */
  errorTextCharsMax: 4096,
  /** Largest event, as CloudEvents JSON, unless its channel says otherwise. */
  eventBytesDefault: 1_048_576,
  /** Largest event that any channel may allow. */
  eventBytesMax: 16_777_216,
  /** JSON Schemas of a channel's events, kept with its declaration, in bytes. Of types beyond it, in the order of their names, none is kept. */
  keptSchemaBytesMax: 65_536,
  /** Most events in one batch publish. */
  batchEventsMax: 65_536,
  /** Most bytes of events in one batch publish. */
  batchBytesMax: 8_388_608,
  /** Most event bytes of one group commit (one larger event goes alone). */
  commitBytesMax: 4_194_304,
  /** Event bytes accepted by `publish` and waiting for their commit; more is refused with BACKPRESSURE. */
  pendingBytesMax: 67_108_864,
  /** Ids remembered for deduplication in a channel, at least. */
  dedupeCountDefault: 100_000,
  /** How long ids are remembered for deduplication, at most. */
  dedupeAgeMsDefault: 600_000,
  /** A server that has taken commands and answers none for so long is held to hang: the connection is made again. */
  serverAnswerMs: 5000,
  /** Handlers of a consumer instance that run at once. */
  concurrencyDefault: 16,
  /** Most handlers of a consumer instance that may be asked for. */
  concurrencyMax: 10_000,
  /** Offsets a consumer may have taken up and not settled (in flight, waiting for their key, in backoff), per channel. */
  outstandingMax: 100_000,
  /** Delayed events whose ids a process knows on an engine over servers: of more, the oldest are known again when they are due. */
  waitingIdsMax: 1_000_000,
  /** Bytes of a channel's log that a process keeps for its consumers on Kafka: they all read the same topic. */
  kafkaCacheBytes: 8_388_608,
  /** Bytes of events read ahead for a consumer. */
  readAheadBytes: 1_048_576,
  /** Attempts at an event before it is a dead letter. */
  attemptsDefault: 8,
  /** Most attempts that may be asked for. */
  attemptsMax: 1000,
  /** Longest wait before the second attempt; it doubles with each one after. */
  backoffMinMsDefault: 1000,
  /** Longest wait between two attempts. */
  backoffMaxMsDefault: 600_000,
  /** A delivery is given to another worker when its instance was not heard of for so long. */
  leaseMsDefault: 30_000,
  /** Shortest lease that may be asked for. */
  leaseMsMin: 50,
  /** How long `stop()` waits for running handlers before it hands their events back. */
  drainMsDefault: 30_000,
  /** A consumer with work and no progress for so long is reported as stalled. */
  stallMsDefault: 30_000,
  /** Lines of the log that are alike are counted for so long, and told of in one. */
  logRepeatMs: 10_000,
  /** Kinds of lines that are told apart at once; others are counted together. */
  logKindsMax: 200,
  /** How long after its dispatch a delivery's in-flight record reaches the journal, at most. */
  inFlightRecordMs: 5,
  /** Farthest future that `delay` or `at` may name. */
  delayMsMax: 315_360_000_000,
  /** Largest batch of `onBatch`. */
  handlerBatchMax: 10_000,
  /** Deepest nesting of an event pattern. */
  patternDepthMax: 64,
  /** Most combinations that the `$or`s of one pattern may multiply to. */
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
  /** How often an event may pass through rules, one causing the next; the one after fails, so that rules that feed each other end. */
  ruleHopsMax: 16,
  /** Events that a rules router has in hand at once, for each channel or wildcard that rules name. */
  ruleRouterEventsMax: 1024,
  /** Rules that are written to `$rules` in one go. */
  ruleBatchMax: 1000,
  /** Longest text in a template, in characters. */
  templateCharsMax: 16_384,
  /** Expressions in one template. */
  templateExpressionsMax: 1000,
  /** Longest text that a template or one of its functions makes, in characters. */
  templateTextCharsMax: 1_048_576,
  /** How long a request of the `http` action may take, unless the action says otherwise. */
  httpActionMsDefault: 15_000,
  /** Longest wait that a receiver's Retry-After may ask for. */
  httpRetryAfterMsMax: 86_400_000,
  /** Bytes of a receiver's refusal that are kept in the dead letter. */
  httpAnswerBytesMax: 1024,
  /** How long a connection to a subscriber is kept for the next event. */
  httpIdleMs: 4000,
  /** Largest file of a watched folder of rules. */
  ruleFileBytesMax: 1_048_576,
  /** How often a watched folder is looked at, beside the operating system's own notices. */
  ruleFolderMs: 1000,
  /** Largest request body that the gateway takes. */
  gatewayBodyBytesMax: 16_777_216,
  /** Values in a JSON body of a request that is no event. */
  gatewayJsonValuesMax: 100_000,
  /** Bytes of all request bodies that the gateway holds at once; more is refused with BACKPRESSURE. */
  gatewayBodiesBytesMax: 134_217_728,
  /** Bytes of request bodies that the gateway holds at once for one caller. */
  gatewayCallerBytesMax: 67_108_864,
  /** Requests a second that the gateway takes from all callers together. */
  gatewayRequestsPerSecond: 200_000,
  /** Requests a second that it takes from one caller. */
  gatewayCallerRequestsPerSecond: 100_000,
  /** Requests, streams and sockets open at once, of all callers together. */
  gatewayOpenMax: 20_000,
  /** Requests, streams and sockets open at once, of one caller. */
  gatewayCallerOpenMax: 10_000,
  /** TCP connections open at once. */
  gatewayConnectionsMax: 20_000,
  /** Events of one page of `GET /channels/:channel/events`, unless the request says otherwise. */
  gatewayPageEventsDefault: 100,
  /** Most events of one page. */
  gatewayPageEventsMax: 1000,
  /** Most bytes of events in one page (one larger event goes alone). */
  gatewayPageBytesMax: 8_388_608,
  /** Channels of one event stream (Server-Sent Events). */
  gatewayStreamChannelsMax: 32,
  /** Event streams open at once. */
  gatewayStreamsMax: 5000,
  /** Bytes waiting for one event stream's client before no more is read for it. */
  gatewayStreamBytesMax: 65_536,
  /** An event stream says that it lives when it was silent for so long. */
  gatewayHeartbeatMs: 15_000,
  /** An event stream whose client took nothing for so long, though something waits for it, is cut. */
  gatewayStallMs: 30_000,
  /** How often what is open asks whether the credentials that let it in still hold, and how often the file of tokens is looked at. */
  gatewayCredentialsMs: 500,
  /** Consumers that the gateway holds open for clients that pull. */
  gatewayPullConsumersMax: 1000,
  /** Events leased to the clients of one pulled consumer at once, unless it says otherwise. */
  gatewayPullLeasesDefault: 100,
  /** Most of them that may be asked for. */
  gatewayPullLeasesMax: 10_000,
  /** Bytes of events that pulled consumers hold, leased or about to be, all together (one larger event goes alone). */
  gatewayPullBytesMax: 134_217_728,
  /** Events of one pull, unless it says otherwise. */
  gatewayPullEventsDefault: 10,
  /** Most events of one pull. */
  gatewayPullEventsMax: 1000,
  /** Longest that a pull may wait for an event. */
  gatewayPullWaitMsMax: 60_000,
  /** Longest lease that a pulled event may have before it must be extended. */
  gatewayPullLeaseMsMax: 43_200_000,
  /** What was fetched for pulls and is not asked for in so long goes back, for other instances. */
  gatewayPullSpareMs: 1000,
  /** A pulled consumer that nobody asks for so long, and that has nothing leased, is closed. */
  gatewayPullIdleMs: 600_000,
  /** Settled leases that are remembered, so that a settlement that is sent again is answered again. */
  gatewayPullSettledMax: 10_000,
  /** Push subscriptions of one broker. */
  pushSubscriptionsMax: 1000,
  /** Requests to one subscriber that may be under way at once, from each process. */
  pushConcurrencyMax: 256,
  /** Longest that a subscriber may take to answer. */
  pushTimeoutMsMax: 60_000,
  /** Largest reply of a subscriber. */
  pushReplyBytesMax: 1_048_576,
  /** A subscriber that asks for a pause is left alone for so long, at most: then one event tries again. */
  pushHoldMsMax: 60_000,
  /** How often a gateway looks for subscriptions that others changed, and starts those that could not be started. */
  pushTendMs: 1000,
  /** How old a webhook may be, where its time is signed. */
  webhookToleranceMs: 300_000,
  /** How long a client may take to send its request. */
  gatewayRequestMs: 30_000,
  /** A connection to the gateway on which nothing moved for so long is cut. */
  gatewayIdleMs: 120_000,
  /** How long a closing gateway waits for requests that run. */
  gatewayDrainMs: 5000,
  /** Largest frame of the wire protocol. */
  wireFrameBytesMax: 67_108_864,
  /** Values in the JSON of one frame of a client. */
  wireJsonValuesMax: 200_000,
  /** Largest first frame of a connection, before it is known who sends it. */
  wireHelloBytesMax: 65_536,
  /** How long a connection may take to say who it is, and a server to answer. */
  wireHelloMs: 10_000,
  /** A connection is asked for a sign of life so often, and cut when three of them stay without. */
  wireHeartbeatMs: 10_000,
  /** A lost connection's session is kept for so long, and at least until its leases have passed. */
  wireSessionMs: 60_000,
  /** Most sessions of one server, lost ones that are still kept included. */
  wireSessionsMax: 10_000,
  /** Bytes that a session sent and the other end does not have: beyond it, a server gives no more deliveries. */
  wireSentBytesMax: 8_388_608,
  /** Bytes of publishes of one session that wait for their commit: beyond it, no more are taken in until some are durable. */
  wirePublishBytesMax: 16_777_216,
  /** Bytes of one read that are under way to its reader. */
  wireReadBytes: 2_097_152,
  /** Most subscriptions, and most reads, of one session. */
  wireSubscriptionsMax: 1000,
  /** Most calls of one session that wait for their answer. */
  wireCallsMax: 10_000,
  /** Longest wait before the next try to connect again; it doubles with each, from 20 ms. */
  wireReconnectMsMax: 1000,
  /** The same where processes share a data directory, and the next owner is one of them. */
  sharedReconnectMsMax: 100,
  /** When the owner of a data directory is gone, the next gives what was in hand only to who has it, for so long. */
  sharedClaimsMs: 1000,
  /** How long the owner of a data directory may take to answer before it is held to be silent. */
  sharedAnswerMs: 1000,
  /** Without a connection for so long, calls fail with UNAVAILABLE, and an alarm is raised. Publishes wait on. */
  wireUnavailableMs: 30_000,
  /** How long `close()` waits for answers to publishes where there is no connection. */
  wireCloseMs: 5000,
  /** How long a call waits for the servers of another broker (NATS …) to answer or come back, before it fails with UNAVAILABLE. */
  brokerPatienceMs: 30_000,
} as const
