/**
 * How to provoke each answer that the OpenAPI document lists, by `operationId status`. Refusals that all routes share
 * are in openapi.test.ts.
 */
import { createHmac } from 'node:crypto'
import { z } from 'zod'
import type { Gateway, GatewayOptions } from '../../src/gateway/index.ts'
import { type Broker, consumer, event, MillraceError, stream } from '../../src/index.ts'
import { rulesOf } from '../../src/rules/index.ts'

export interface ProvocationWorld {
  readonly gateway: Gateway
  readonly broker: Broker
  readonly token: string
}

export interface Provocation {
  readonly options?: GatewayOptions
  /** With access control. */
  readonly guarded?: boolean
  /** A broker to use instead of the real one. */
  readonly broker?: (broker: Broker) => Broker
  /** Returns values for the path's parameters. */
  readonly prepare?: (world: ProvocationWorld) => Promise<Readonly<Record<string, string>> | undefined>
  readonly fill?: Readonly<Record<string, string>>
  readonly path?: string
  readonly query?: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

const STRUCTURED = { 'content-type': 'application/cloudevents+json' }
const JSON_TYPE = { 'content-type': 'application/json' }
const good = '{"specversion":"1.0","id":"1","source":"/s","type":"t"}'

const channel = async ({ broker }: ProvocationWorld): Promise<undefined> => {
  await broker.declare(stream('some-channel', { maxEventBytes: 4096 }))
}
/** A stream that keeps the latest event of each key, with one event. */
const table = async ({ broker }: ProvocationWorld): Promise<{ table: string; key: string }> => {
  await broker.declare(stream('some-table', { retain: { latestByKey: true } }))
  await broker.publish('some-table', { type: 't', partitionkey: 'some-key' })
  return { table: 'some-table', key: 'some-key' }
}
const oneEvent = async (world: ProvocationWorld): Promise<undefined> => {
  await channel(world)
  await world.broker.publish('some-channel', { id: '1', source: '/s', type: 't' })
}
/** Channels that carry some-type with different schemas. Returns the fingerprint of the last one. */
const schemas =
  (...names: readonly string[]) =>
  async ({ broker, gateway }: ProvocationWorld): Promise<{ fingerprint: string }> => {
    for (const name of names)
      await broker.declare(stream(name, { events: [event('some-type', z.object({ [name]: z.string() }))] }))
    const catalogue = (await (await gateway.fetch(new Request('http://g/catalogue'))).json()) as {
      events: { schemas: { fingerprint: string }[] }[]
    }
    return { fingerprint: catalogue.events[0]?.schemas.at(-1)?.fingerprint ?? '' }
  }
const strict = async ({ broker }: ProvocationWorld): Promise<undefined> => {
  await broker.declare(stream('some-channel', { events: [event('other')] }))
}
const REASON = '?reason=mended'
const WHY = '{"reason":"mended"}'
const closed = async ({ broker }: ProvocationWorld): Promise<undefined> => {
  await broker.close()
}
const deadConsumer = async ({ broker }: ProvocationWorld): Promise<undefined> => {
  await broker.declare(stream('some-channel'))
  const running = await broker.start(consumer('some-consumer', 'some-channel').onAny(() => undefined))
  await running.stop()
}
const redriving = async (world: ProvocationWorld): Promise<{ redrive: string }> => {
  await deadConsumer(world)
  const request = new Request('http://g/api/consumers/some-consumer/redrives', {
    method: 'POST',
    headers: JSON_TYPE,
    body: WHY,
  })
  const { id } = (await (await world.gateway.fetch(request)).json()) as { id: string }
  return { redrive: id }
}
/** An open consumer with one leased event. */
const leased = async (world: ProvocationWorld): Promise<{ lease: string }> => {
  await channel(world)
  await world.broker.publish('some-channel', { id: '1', source: '/s', type: 't' })
  const request = new Request('http://g/consumers/some-consumer/pull', {
    method: 'POST',
    headers: JSON_TYPE,
    body: '{"channels":["some-channel"]}',
  })
  const { deliveries } = (await (await world.gateway.fetch(request)).json()) as { deliveries: { lease: string }[] }
  return { lease: deliveries[0]?.lease ?? '' }
}

/** Publishing fails as with a full disk. */
const full = (broker: Broker): Broker =>
  new Proxy(broker, {
    get: (target, name) => {
      if (name === 'publish') return () => Promise.reject(new MillraceError('DISK_FULL', 'the disk is full'))
      const member: unknown = Reflect.get(target, name)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })

const onLease = (body?: string): Provocation => ({
  prepare: leased,
  headers: JSON_TYPE,
  ...(body !== undefined && { body }),
})
const lost: Provocation = { headers: JSON_TYPE, body: '{}' }
const emitting = (event: string, name = 'some-channel'): Provocation =>
  onLease(`{"emit":[{"channel":"${name}","event":${event}}]}`)
const RULE = '{"on":"some-channel","then":"drop"}'
const rule = async (world: ProvocationWorld): Promise<undefined> => {
  await channel(world)
  await rulesOf(world.broker).put({ name: 'some-rule', on: 'some-channel', then: 'drop' })
}
const SCHEDULE = '{"when":{"every":"1h"},"channel":"some-channel","event":{"type":"t"}}'
const schedule = async (world: ProvocationWorld): Promise<undefined> => {
  await channel(world)
  await world.broker.schedules.put('some-schedule', { every: '1h' }, 'some-channel', { type: 't' })
}
const replying =
  (answer: 'reply' | 'reject') =>
  async (world: ProvocationWorld): Promise<undefined> => {
    await channel(world)
    const replier = consumer('some-consumer', 'some-channel', { from: 'end' })
    await world.broker.start(
      replier.onAny((_, ctx) => (answer === 'reply' ? ctx.reply({ type: 'answer' }) : ctx.reject('no'))),
    )
  }
const hooks: NonNullable<GatewayOptions['webhooks']> = {
  'some-webhook': { scheme: 'github', secret: 's', channel: 'some-channel' },
}
/** A webhook as GitHub would send it. */
const webhook = (more: Provocation = {}): Provocation => {
  const { body = '{}' } = more
  const signature = `sha256=${createHmac('sha256', 's').update(body).digest('hex')}`
  return {
    ...more,
    options: { webhooks: hooks, ...more.options },
    headers: { ...JSON_TYPE, 'x-hub-signature-256': signature, ...more.headers },
    body,
  }
}
/** Nothing listens on port 9, and nothing is published. */
const SUBSCRIPTION = '{"channels":["some-channel"],"url":"http://127.0.0.1:9/"}'
const push = { allow: ['127.0.0.1'] }
const subscribed = async (world: ProvocationWorld): Promise<undefined> => {
  await channel(world)
  const request = new Request('http://g/api/subscriptions/some-subscription', {
    method: 'PUT',
    headers: JSON_TYPE,
    body: SUBSCRIPTION,
  })
  await (await world.gateway.fetch(request)).text()
}
const letters = '/api/consumers/{consumer}/dead-letters'

export const provocations: Readonly<Record<string, Provocation>> = {
  ...Object.fromEntries(
    ['listDelayedEvents', 'cancelDelayedEvent'].flatMap((name) => {
      const why = name === 'cancelDelayedEvent' ? { query: REASON } : {}
      return [
        [`${name} 200`, { prepare: channel, ...why }],
        [`${name} 404`, why],
        [`${name} 503`, { prepare: closed, ...why }],
      ]
    }),
  ),
  'publishEvents 202': { prepare: channel, headers: STRUCTURED, body: good },
  'publishEvents 413': { prepare: channel, options: { maxBodyBytes: 10 }, headers: STRUCTURED, body: good },
  'publishEvents 415': { prepare: channel, headers: { ...STRUCTURED, 'content-encoding': 'gzip' }, body: good },
  'publishEvents 404': { headers: STRUCTURED, body: good },
  'publishEvents 422': { prepare: strict, headers: STRUCTURED, body: good },
  'publishEvents 503': { prepare: closed, headers: STRUCTURED, body: good },
  'publishEvents 507': { prepare: channel, broker: full, headers: STRUCTURED, body: good },
  'request 200': { prepare: replying('reply'), headers: STRUCTURED, body: good },
  'request 404': { headers: STRUCTURED, body: good },
  'request 413': { prepare: channel, options: { maxBodyBytes: 10 }, headers: STRUCTURED, body: good },
  'request 415': { prepare: channel, headers: { 'content-type': 'application/cloudevents-batch+json' }, body: '[]' },
  'request 422': { prepare: strict, headers: STRUCTURED, body: good },
  'request 502': { prepare: replying('reject'), headers: STRUCTURED, body: good },
  'request 503': { prepare: closed, headers: STRUCTURED, body: good },
  'request 504': { prepare: channel, query: '?timeout=1ms', headers: STRUCTURED, body: good },
  'listRules 200': { prepare: rule },
  'listRules 503': { prepare: closed },
  'putRule 200': { prepare: channel, headers: JSON_TYPE, body: RULE },
  'putRule 404': { headers: JSON_TYPE, body: RULE },
  'putRule 503': { prepare: closed, headers: JSON_TYPE, body: RULE },
  'testRule 200': { prepare: channel, headers: JSON_TYPE, body: `{"rule":{"name":"r",${RULE.slice(1)}}` },
  'testRule 404': { headers: JSON_TYPE, body: '{"rule":"some-rule"}' },
  'testRule 503': { prepare: closed, headers: JSON_TYPE, body: '{"rule":"some-rule"}' },
  ...Object.fromEntries(
    ['showRule', 'removeRule', 'enableRule', 'disableRule'].flatMap((name) => {
      const why = name === 'removeRule' ? { query: REASON } : {}
      return [
        [`${name} 200`, { prepare: rule, ...why }],
        [`${name} 404`, why],
        [`${name} 503`, { prepare: closed, ...why }],
      ]
    }),
  ),
  'listSchedules 200': { prepare: schedule },
  'listSchedules 503': { prepare: closed },
  'putSchedule 200': { prepare: channel, headers: JSON_TYPE, body: SCHEDULE },
  'putSchedule 404': { headers: JSON_TYPE, body: SCHEDULE },
  'putSchedule 413': { prepare: channel, options: { maxBodyBytes: 10 }, headers: JSON_TYPE, body: SCHEDULE },
  'putSchedule 422': { prepare: strict, headers: JSON_TYPE, body: SCHEDULE },
  'putSchedule 503': { prepare: closed, headers: JSON_TYPE, body: SCHEDULE },
  ...Object.fromEntries(
    ['showSchedule', 'removeSchedule', 'pauseSchedule', 'resumeSchedule', 'runSchedule'].flatMap((name) => {
      const why = name === 'removeSchedule' ? { query: REASON } : {}
      return [
        [`${name} 200`, { prepare: schedule, ...why }],
        [`${name} 404`, why],
        [`${name} 503`, { prepare: closed, ...why }],
      ]
    }),
  ),
  'receiveWebhook 200': webhook(),
  'receiveWebhook 400': webhook({ body: '{' }),
  'receiveWebhook 404': webhook({ path: '/webhooks/other' }),
  'receiveWebhook 413': webhook({ options: { webhooks: hooks, maxBodyBytes: 1 } }),
  'receiveWebhook 415': webhook({ headers: { 'content-encoding': 'gzip' } }),
  'receiveWebhook 422': webhook({ prepare: strict }),
  'receiveWebhook 503': webhook({ prepare: closed }),
  'receiveWebhook 507': webhook({ broker: full }),
  'listSubscriptions 200': {},
  'listSubscriptions 503': { prepare: closed },
  'putSubscription 200': { options: { push }, prepare: subscribed, headers: JSON_TYPE, body: SUBSCRIPTION },
  'putSubscription 201': { options: { push }, prepare: channel, headers: JSON_TYPE, body: SUBSCRIPTION },
  'putSubscription 404': { options: { push }, headers: JSON_TYPE, body: SUBSCRIPTION },
  'putSubscription 503': { prepare: closed, headers: JSON_TYPE, body: SUBSCRIPTION },
  'removeSubscription 204': { options: { push }, prepare: subscribed, query: REASON },
  ...Object.fromEntries(
    ['showSubscription', 'enableSubscription', 'disableSubscription', 'removeSubscription'].flatMap((name) => [
      ...(name === 'removeSubscription' ? [] : [[`${name} 200`, { options: { push }, prepare: subscribed }]]),
      [`${name} 404`, {}],
      [`${name} 503`, { prepare: closed }],
    ]),
  ),
  'grantWebhook 200': { headers: { 'webhook-request-origin': 'sender.example' } },
  ...Object.fromEntries(
    ['causes', 'effects'].flatMap((name) => [
      [`${name} 200`, { prepare: oneEvent, fill: { offset: '0' } }],
      [`${name} 404`, { fill: { offset: '0' } }],
      [`${name} 416`, { prepare: channel, fill: { offset: '7' } }],
      [`${name} 503`, { prepare: closed, fill: { offset: '0' } }],
    ]),
  ),
  'metrics 200': {},
  'metrics 503': { prepare: closed },
  'readEvents 200': { prepare: channel },
  'readEvents 404': {},
  'readEvents 416': { prepare: channel, query: '?from=1000' },
  'readEvents 503': { prepare: closed },
  'streamEvents 200': { prepare: channel },
  'streamEvents 404': {},
  'streamEvents 416': { prepare: channel, query: '?from=1000' },
  'streamEvents 503': { prepare: channel, options: { maxStreams: 0 } },
  'joinConsumer 200': {
    prepare: async (world) => void (await leased(world)),
    headers: JSON_TYPE,
    body: '{"channels":["some-channel"]}',
  },
  'joinConsumer 201': { prepare: channel, headers: JSON_TYPE, body: '{"channels":["some-channel"]}' },
  'joinConsumer 404': { headers: JSON_TYPE, body: '{"channels":["some-channel"]}' },
  'joinConsumer 503': { prepare: closed, headers: JSON_TYPE, body: '{"channels":["some-channel"]}' },
  'pullEvents 200': { prepare: channel, headers: JSON_TYPE, body: '{"channels":["some-channel"]}' },
  'pullEvents 404': { headers: JSON_TYPE, body: '{}' },
  'pullEvents 409': {
    prepare: async (world) => void (await leased(world)),
    headers: JSON_TYPE,
    body: '{"channels":["some-channel"],"lease":"1h"}',
  },
  'pullEvents 503': { prepare: closed, headers: JSON_TYPE, body: '{"channels":["some-channel"]}' },
  'leaveConsumer 204': { prepare: async (world) => void (await leased(world)) },
  'leaveConsumer 404': {},
  'completeLease 200': onLease('{}'),
  'completeLease 404': emitting(good, 'nowhere'),
  'completeLease 409': lost,
  'completeLease 422': {
    ...emitting(good, 'strict'),
    prepare: async (world) => {
      await world.broker.declare(stream('strict', { events: [event('other')] }))
      return leased(world)
    },
  },
  'retryLease 200': onLease('{"delay":"1h"}'),
  'retryLease 409': lost,
  'rejectLease 200': onLease('{"reason":"no"}'),
  'rejectLease 409': lost,
  'releaseLease 200': onLease(),
  'releaseLease 409': { headers: JSON_TYPE },
  'extendLease 200': onLease('{"lease":"1m"}'),
  'extendLease 409': { headers: JSON_TYPE, body: '{"lease":"1m"}' },
  'settleLeases 200': { headers: JSON_TYPE, body: '{"settlements":[]}' },
  'listDeadLetters 200': { prepare: deadConsumer },
  'listDeadLetters 404': { path: letters },
  'listDeadLetters 503': { prepare: closed },
  ...Object.fromEntries(
    (['deleteDeadLetters', 'redriveDeadLetters', 'dropDeadLetters'] as const).flatMap((name) => [
      [`${name} 200`, { prepare: deadConsumer, query: '?all=true&reason=mended' }],
      [`${name} 404`, { query: '?all=true&reason=mended' }],
      [`${name} 503`, { prepare: closed, query: '?all=true&reason=mended' }],
    ]),
  ),
  'declareChannel 200': {
    prepare: async ({ broker }) => void (await broker.declare(stream('some-channel'))),
    headers: JSON_TYPE,
    body: '{}',
  },
  'declareChannel 201': { headers: JSON_TYPE, body: '{"kind":"queue"}' },
  'declareChannel 409': { prepare: channel, headers: JSON_TYPE, body: '{"kind":"queue"}' },
  'declareChannel 503': { prepare: closed, headers: JSON_TYPE, body: '{}' },
  'removeChannel 204': { prepare: channel, query: REASON },
  'removeChannel 404': { query: REASON },
  'removeChannel 503': { prepare: closed, query: REASON },
  'removeConsumer 204': { prepare: deadConsumer, query: REASON },
  'removeConsumer 503': { prepare: closed, query: REASON },
  'pauseConsumer 204': { prepare: deadConsumer, headers: JSON_TYPE, body: '{"reason":"maintenance"}' },
  'pauseConsumer 404': {},
  'resumeConsumer 204': { prepare: deadConsumer },
  'resumeConsumer 404': {},
  'pauseConsumer 503': { prepare: closed },
  'resumeConsumer 503': { prepare: closed },
  'rewindConsumer 204': { prepare: deadConsumer, headers: JSON_TYPE, body: '{"to":"beginning","reason":"mended"}' },
  'rewindConsumer 404': { query: '?to=beginning&reason=mended' },
  'rewindConsumer 416': { prepare: deadConsumer, query: '?to=1000&reason=mended' },
  'rewindConsumer 503': { prepare: closed, query: '?to=beginning&reason=mended' },
  'describe 200': {},
  'describe 503': { prepare: closed },
  'describeCaller 200': {},
  'describeCaller 503': { prepare: closed, query: '?consumer=some-consumer' },
  'searchEvents 200': { prepare: channel },
  'searchEvents 404': {},
  'searchEvents 416': { prepare: channel, query: '?from=1000' },
  'searchEvents 503': { prepare: closed },
  ...Object.fromEntries(
    ['listTable', 'showTableEntry'].flatMap((name) => [
      [`${name} 200`, { prepare: table }],
      [`${name} 404`, {}],
      [`${name} 503`, { prepare: closed }],
    ]),
  ),
  'showChannel 200': { prepare: channel },
  'showChannel 404': {},
  'showChannel 503': { prepare: closed },
  'whyDelivery 200': { prepare: oneEvent, query: '?offset=0' },
  'whyDelivery 404': { query: '?offset=0' },
  'whyDelivery 503': { prepare: closed, query: '?offset=0' },
  'listRetries 200': { prepare: deadConsumer },
  'listRetries 404': {},
  'listRetries 503': { prepare: closed },
  'whyPublish 200': { prepare: channel },
  'whyPublish 404': {},
  'whyPublish 503': { prepare: closed },
  'whyConsumer 200': { prepare: deadConsumer },
  'whyConsumer 404': {},
  'whyConsumer 503': { prepare: closed },
  'whyRule 200': { prepare: rule, query: '?channel=some-channel&offset=0' },
  'whyRule 404': { query: '?channel=some-channel&offset=0' },
  'whyRule 503': { prepare: closed, query: '?channel=some-channel&offset=0' },
  'groupDeadLetters 200': { prepare: deadConsumer },
  'groupDeadLetters 404': {},
  'groupDeadLetters 503': { prepare: closed },
  'startRedrive 202': { prepare: deadConsumer, headers: JSON_TYPE, body: WHY },
  'startRedrive 404': { headers: JSON_TYPE, body: WHY },
  'startRedrive 503': { prepare: closed, headers: JSON_TYPE, body: WHY },
  'listRedrives 200': {},
  'listRedrives 503': { prepare: closed },
  'stopRedrive 200': { prepare: redriving },
  'stopRedrive 404': {},
  'stopRedrive 503': { prepare: closed },
  'previewRewind 200': { prepare: deadConsumer, query: '?to=beginning' },
  'previewRewind 404': { query: '?to=beginning' },
  'previewRewind 416': { prepare: deadConsumer, query: '?to=1000' },
  'previewRewind 503': { prepare: closed, query: '?to=beginning' },
  'showFlow 200': {},
  'showChannelHistory 200': { prepare: channel },
  'showChannelHistory 404': {},
  'showChannelHistory 503': { prepare: closed },
  'showConsumerHistory 200': { prepare: deadConsumer },
  'showConsumerHistory 404': {},
  'showConsumerHistory 503': { prepare: closed },
  'showFlow 503': { prepare: closed },
  'followFlow 200': {},
  'showCatalogue 200': {},
  'showCatalogue 503': { prepare: closed },
  'asyncApi 200': {},
  'asyncApi 503': { prepare: closed },
  'showSchema 200': { prepare: schemas('one'), query: '?channel=one' },
  'showSchema 404': {},
  'showSchema 409': { prepare: schemas('one', 'two') },
  'showSchema 503': { prepare: closed },
  'showSchemaVersion 200': { prepare: schemas('one') },
  'showSchemaVersion 404': {},
  'showSchemaVersion 503': { prepare: closed },
  'health 200': {},
  'ready 200': {},
  'ready 503': { prepare: closed },
  'openApi 200': {},
}
