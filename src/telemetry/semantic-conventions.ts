/**
 * The names of OpenTelemetry's semantic conventions 1.45 that Millrace uses: messaging spans and metrics, CloudEvents,
 * errors. A test compares them with the package `@opentelemetry/semantic-conventions`.
 * @see https://opentelemetry.io/docs/specs/semconv/messaging/
 */
export const ATTR = {
  system: 'messaging.system',
  operationName: 'messaging.operation.name',
  operationType: 'messaging.operation.type',
  destination: 'messaging.destination.name',
  consumerGroup: 'messaging.consumer.group.name',
  messageId: 'messaging.message.id',
  conversationId: 'messaging.message.conversation_id',
  batchCount: 'messaging.batch.message_count',
  errorType: 'error.type',
  eventId: 'cloudevents.event_id',
  eventSource: 'cloudevents.event_source',
  eventType: 'cloudevents.event_type',
  eventSubject: 'cloudevents.event_subject',
} as const

export const METRIC = {
  sent: 'messaging.client.sent.messages',
  consumed: 'messaging.client.consumed.messages',
  operationDuration: 'messaging.client.operation.duration',
  processDuration: 'messaging.process.duration',
} as const

/** Values of `messaging.operation.name`. Those of settlements are the outcomes' own. */
export const OPERATION = { publish: 'publish', create: 'create', receive: 'receive', process: 'process' } as const

/** The value of `messaging.system`: the broker that the engine uses, by its common name. */
export function systemOf(engine: string): string {
  return engine === 'memory' || engine === 'file' ? 'millrace' : engine
}
