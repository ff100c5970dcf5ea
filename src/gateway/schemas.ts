/** JSON Schemas that several routes share. In the OpenAPI document they are under `components`. */
import { ERROR_CODES } from '../base/errors.ts'
import { BATCHED, STRUCTURED } from '../event/http/media-type.ts'
import type { Content, JsonSchema, Parameter } from './route.ts'

export const ref = (name: string): JsonSchema => ({ $ref: `#/components/schemas/${name}` })
export const json = (schema: JsonSchema): Content => ({ 'application/json': schema })

const text = { type: 'string' }
const whole = { type: 'integer' }

export const SCHEMAS: Readonly<Record<string, JsonSchema>> = {
  CloudEvent: {
    type: 'object',
    description: 'A CloudEvent 1.0 in its JSON format. Extension attributes are members like the others.',
    required: ['specversion', 'id', 'source', 'type'],
    properties: {
      specversion: { const: '1.0' },
      id: { type: 'string', minLength: 1 },
      source: { type: 'string', format: 'uri-reference', minLength: 1 },
      type: { type: 'string', minLength: 1 },
      time: { type: ['string', 'null'], format: 'date-time' },
      subject: { type: ['string', 'null'], minLength: 1 },
      datacontenttype: { type: ['string', 'null'], minLength: 1 },
      dataschema: { type: ['string', 'null'], format: 'uri', minLength: 1 },
      partitionkey: {
        type: ['string', 'null'],
        minLength: 1,
        description: 'The key: events that share it are handled in order.',
      },
      data: {},
      data_base64: { type: ['string', 'null'], contentEncoding: 'base64' },
    },
    additionalProperties: { type: ['string', 'integer', 'boolean', 'null'] },
  },
  Receipt: {
    type: 'object',
    required: ['channel', 'id', 'offset', 'duplicate'],
    properties: {
      channel: text,
      id: text,
      offset: { type: ['integer', 'null'], description: 'Its offset in the channel; null for a delayed event.' },
      duplicate: {
        type: 'boolean',
        description:
          'The id was published before, within the channel’s window: nothing was stored, and the receipt says where the first one is.',
      },
      dueAtMs: {
        type: 'integer',
        description: 'When the delayed event is due, in milliseconds since the epoch; only if offset is null.',
      },
    },
  },
  Problem: {
    type: 'object',
    description: 'A problem document (RFC 9457).',
    required: ['type', 'title', 'status', 'detail'],
    properties: {
      type: text,
      title: text,
      status: whole,
      detail: { type: 'string', description: 'What was wrong, and what to do.' },
      code: { enum: Object.keys(ERROR_CODES) },
      retryable: { type: 'boolean', description: 'Whether the same request can succeed later.' },
      details: { type: 'object', description: 'The facts, for programs.' },
    },
  },
  DeadLetter: {
    type: 'object',
    required: ['consumer', 'channel', 'offset', 'id', 'type', 'attempts', 'failure', 'deadAtMs', 'event'],
    properties: {
      consumer: text,
      channel: text,
      offset: whole,
      key: { type: ['string', 'null'] },
      id: text,
      type: text,
      attempts: whole,
      failure: {
        type: 'object',
        properties: { name: text, message: text, kind: { enum: ['error', 'rejected', 'poison', 'timeout', 'crash'] } },
      },
      deadAtMs: whole,
      waiting: { type: 'integer', description: 'Events of its key that wait behind it.' },
      event: { $ref: '#/components/schemas/CloudEvent' },
    },
  },
  Delivery: {
    type: 'object',
    required: ['lease', 'expiresAt', 'channel', 'offset', 'attempt', 'redriven', 'event'],
    properties: {
      lease: { type: 'string', description: 'Settles the event: /leases/{lease}/complete.' },
      expiresAt: {
        type: 'string',
        format: 'date-time',
        description: 'At this time the event goes to another client, unless the lease was extended or settled.',
      },
      channel: text,
      offset: whole,
      key: { type: ['string', 'null'] },
      attempt: { type: 'integer', minimum: 1 },
      redriven: { type: 'boolean', description: 'It comes from the dead letters.' },
      event: { $ref: '#/components/schemas/CloudEvent' },
    },
  },
  Subscription: {
    type: 'object',
    required: ['name', 'channels', 'url', 'enabled', 'consumer', 'lag', 'deadLetters'],
    properties: {
      name: text,
      channels: { type: ['string', 'array'] },
      url: text,
      headers: { type: 'array', items: text, description: 'Their names.' },
      secret: { type: 'string', description: 'Only in the answer that created it.' },
      enabled: { type: 'boolean' },
      by: { type: 'string', description: 'Who changed it last; millrace, if the subscriber answered 410.' },
      reason: { type: ['string', 'null'] },
      problem: { type: ['string', 'null'], description: 'The reason why it does not run.' },
      lastFailure: {
        type: ['object', 'null'],
        description: 'Of this process.',
        properties: { at: text, message: text },
      },
      grantedPerMinute: { type: ['integer', 'null'], description: 'Requests a minute that the subscriber allowed.' },
      consumer: {
        type: 'string',
        description: 'The consumer that has the dead letters and positions of the subscription.',
      },
      lag: whole,
      inFlight: whole,
      retrying: whole,
      deadLetters: whole,
      parked: whole,
      stalled: { type: ['object', 'null'] },
    },
  },
  Description: {
    type: 'object',
    required: ['engine', 'capabilities', 'channels', 'consumers', 'alarms'],
    properties: {
      engine: text,
      capabilities: { type: 'object' },
      channels: { type: 'array', items: { type: 'object', required: ['name', 'kind', 'first', 'next'] } },
      consumers: { type: 'array', items: { type: 'object', required: ['name', 'channels', 'deadLetters'] } },
      alarms: { type: 'array', items: { type: 'object', required: ['code', 'message'] } },
    },
  },
}

/** Bodies that carry CloudEvents: structured and batched. Binary mode uses any other type, with `ce-` headers. */
export const CLOUD_EVENTS: Content = {
  [STRUCTURED]: ref('CloudEvent'),
  [BATCHED]: { type: 'array', items: ref('CloudEvent') },
}

export const CHANNEL: Parameter = { description: 'The channel’s name.', required: true, schema: text }
export const CONSUMER: Parameter = { description: 'The consumer’s name.', required: true, schema: text }
export const WHERE: Parameter = {
  description: 'An event pattern in JSON, over the whole CloudEvent: {"type":["cart.item.added"]}.',
  schema: text,
}
export const FROM: Parameter = {
  description: 'beginning, end, an offset, an RFC 3339 time, or an age such as 1h.',
  schema: text,
}
export const FILTER: Parameter = {
  description: "A CloudEvents SQL expression: type LIKE 'cart.%'. With where, both must hold.",
  schema: text,
}
