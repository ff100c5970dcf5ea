/**
 * The catalogue as an AsyncAPI document. Pure: the same catalogue gives the same document.
 *
 * A message is an event in CloudEvents' binary mode: its payload is the data, its headers are the attributes. Consumers
 * and rules receive, producers send.
 * @see https://www.asyncapi.com/docs/reference/specification/v3.0.0
 */
import type { JsonObject } from '../base/json-object.ts'
import { schemaOf } from '../event/json-schema.ts'
import { type Application, publishedByOthers, usedBy } from './application.ts'
import { asyncSchema, isPlainData } from './async-schema.ts'
import type { Catalogue, CatalogueChannel, CatalogueEvent, CatalogueSchema, SeenExample } from './catalogue.ts'

export const ASYNC_API_VERSIONS = ['3.0', '3.1'] as const
export type AsyncApiVersion = (typeof ASYNC_API_VERSIONS)[number]

export interface AsyncApiOptions {
  /** @default '3.0' */
  readonly version?: AsyncApiVersion
  /** @default 'Events' */
  readonly title?: string
  /** The URL of the gateway, if events go through one. */
  readonly url?: string
  /** Only what this application sends and receives. @default everything */
  readonly of?: Application
}

type Json = Record<string, unknown>

const text = { type: 'string' }
/** The attributes of a CloudEvent, by their names in HTTP headers. */
const HEADERS: Json = {
  type: 'object',
  required: ['ce-specversion', 'ce-id', 'ce-source', 'ce-type'],
  properties: {
    'ce-specversion': { const: '1.0' },
    'ce-id': { ...text, minLength: 1 },
    'ce-source': { ...text, format: 'uri-reference', minLength: 1 },
    'ce-type': { ...text, minLength: 1 },
    'ce-time': { ...text, format: 'date-time' },
    'ce-subject': text,
    'ce-dataschema': { ...text, format: 'uri' },
    'ce-partitionkey': { ...text, description: 'The key: events that share it are handled in order.' },
    'ce-correlationid': text,
    'ce-causationid': { ...text, description: 'The id of the event that caused this one.' },
    'ce-traceparent': text,
  },
}

export function asyncApiOf(catalogue: Catalogue, options: AsyncApiOptions = {}): Json {
  const { version = '3.0', title = 'Events', url, of } = options
  const writer =
    of === undefined
      ? new Writer(catalogue, new Set())
      : new Writer(usedBy(of, catalogue), publishedByOthers(of, catalogue))
  return writer.document(`${version}.0`, title, url)
}

class Writer {
  readonly #catalogue: Catalogue
  /** Types that the application of the document only receives. */
  readonly #foreign: ReadonlySet<string>
  readonly #channelKeys = new Keys()
  readonly #messageKeys = new Keys()
  readonly #operationKeys = new Keys()
  readonly #schemas = new Map<string, Json>()
  readonly #messages = new Map<string, Json>()
  /** The keys of the messages by type and channel, the newest version first. */
  readonly #messagesOf = new Map<string, string[]>()

  constructor(catalogue: Catalogue, foreign: ReadonlySet<string>) {
    this.#catalogue = catalogue
    this.#foreign = foreign
  }

  document(asyncapi: string, title: string, url: string | undefined): Json {
    for (const event of this.#catalogue.events) this.#message(event)
    const channels = this.#catalogue.channels.map((channel) => [
      this.#channelKeys.of(channel.name),
      this.#channel(channel),
    ])
    return {
      asyncapi,
      info: { title, version: '1.0.0', description: 'Made from the catalogue of Millrace.' },
      defaultContentType: 'application/json',
      ...(url !== undefined && { servers: { gateway: serverOf(url) } }),
      channels: Object.fromEntries(channels),
      operations: Object.fromEntries(this.#operations()),
      components: {
        schemas: { ...Object.fromEntries(this.#schemas), CloudEventHeaders: HEADERS },
        messages: Object.fromEntries(this.#messages),
      },
    }
  }

  /** One message for each version and different schema of the type. */
  #message(event: CatalogueEvent): void {
    const { type, schemas } = event
    for (const schema of schemas) {
      const key = this.#messageKeys.of(`${type}${distinction(schema, schemas)}`)
      this.#messages.set(key, this.#messageObject(event, schema, key))
      for (const channel of schema.channels) {
        const at = `${channel}/${type}`
        this.#messagesOf.set(at, [...(this.#messagesOf.get(at) ?? []), key])
      }
    }
  }

  #messageObject(
    { type, examples }: CatalogueEvent,
    { state, version, schema, path, channels }: CatalogueSchema,
    key: string,
  ): Json {
    if (schema !== null) this.#schemas.set(key, asyncSchema(schema, `#/components/schemas/${key}`))
    const shown = examples.filter(
      (each) => each.version === version && channels.includes(each.channel) && suits(each.event, schema),
    )
    return {
      name: type,
      title: type,
      contentType: 'application/json',
      headers: { $ref: '#/components/schemas/CloudEventHeaders' },
      payload: schema === null ? {} : { $ref: `#/components/schemas/${key}` },
      ...(shown.length > 0 && { examples: shown.map(exampleOf) }),
      'x-eventcatalog-message-version': String(version),
      'x-millrace': { version, schema: state, ...(path !== null && { dataschema: path }) },
      // For EventCatalog: another service documents the message.
      ...(this.#foreign.has(type) && { 'x-eventcatalog-role': 'client' }),
    }
  }

  #channel({ name, kind, events, key, retain, eventBytesMax }: CatalogueChannel): Json {
    const messages = events.flatMap((type) => this.#messagesOf.get(`${name}/${type}`) ?? [])
    return {
      address: name,
      title: name,
      description: kind === 'stream' ? 'A stream: it keeps its events.' : 'A queue: each event goes to one worker.',
      messages: Object.fromEntries(messages.map((each) => [each, { $ref: `#/components/messages/${each}` }])),
      'x-millrace': { kind, key, retain, eventBytesMax },
    }
  }

  *#operations(): Generator<[string, Json]> {
    for (const { name, consumers, rules } of this.#catalogue.channels) {
      for (const consumer of consumers) yield this.#operation('receive', 'consumer', consumer, name, null)
      for (const rule of rules) yield this.#operation('receive', 'rule', rule, name, this.#typesOfRule(rule, name))
      for (const [kind, producer, types] of this.#producersOf(name))
        yield this.#operation('send', kind, producer, name, types)
    }
  }

  #typesOfRule(rule: string, channel: string): ReadonlySet<string> {
    const events = this.#catalogue.events.filter(({ rules }) =>
      rules.some((each) => each.name === rule && each.channel === channel),
    )
    return new Set(events.map(({ type }) => type))
  }

  #producersOf(channel: string): (readonly [kind: string, name: string, types: Set<string>])[] {
    const found = new Map<string, readonly [string, string, Set<string>]>()
    for (const { type, producers } of this.#catalogue.events)
      for (const { kind, name, channel: to } of producers) {
        if (to !== channel) continue
        const key = `${kind} ${name}`
        const known = found.get(key) ?? ([kind, name, new Set<string>()] as const)
        known[2].add(type)
        found.set(key, known)
      }
    return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each)
  }

  /** `types`: null for all of the channel. */
  #operation(
    action: 'send' | 'receive',
    kind: string,
    name: string,
    channel: string,
    types: ReadonlySet<string> | null,
  ): [string, Json] {
    const at = `#/channels/${this.#channelKeys.of(channel)}`
    const carried = this.#catalogue.channels.find((each) => each.name === channel)?.events ?? []
    const messages = carried.flatMap((type) => {
      const all = types === null || types.has(type) ? (this.#messagesOf.get(`${channel}/${type}`) ?? []) : []
      // Earlier versions are read, and not published any more.
      return action === 'send' ? all.slice(0, 1) : all
    })
    return [
      this.#operationKeys.of(`${kind}.${name}.${action}.${channel}`),
      {
        action,
        channel: { $ref: at },
        title: action === 'send' ? `${name} publishes to ${channel}` : `${name} reads ${channel}`,
        messages: messages.map((key) => ({ $ref: `${at}/messages/${key}` })),
        'x-millrace': { [kind]: name },
      },
    ]
  }
}

/** Keys of letters, digits, `.`, `-` and `_`, as AsyncAPI has them; each name has its own. */
class Keys {
  readonly #byName = new Map<string, string>()
  readonly #taken = new Set<string>(['CloudEventHeaders', '__proto__'])

  of(name: string): string {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    const plain = name.replaceAll(/[^\w.-]+/g, '_')
    let key = plain
    for (let count = 2; this.#taken.has(key); count++) key = `${plain}-${count}`
    this.#taken.add(key)
    this.#byName.set(name, key)
    return key
  }
}

/** What tells a schema from the others of its type; empty for the newest, if there is one. No type has an `@`. */
export function distinction(
  { version, earlier, fingerprint, channels }: CatalogueSchema,
  schemas: readonly CatalogueSchema[],
): string {
  const alike = schemas.filter((each) => each.version === version && each.earlier === earlier)
  const newest = schemas.filter((each) => !each.earlier)
  const of = alike.length === 1 ? '' : `@${fingerprint ?? channels[0] ?? ''}`
  return `${earlier || newest.length > alike.length ? `@v${version}` : ''}${of}`
}

function serverOf(url: string): Json {
  const { host, protocol, pathname } = new URL(url)
  return { host, protocol: protocol.slice(0, -1), ...(pathname !== '/' && { pathname }) }
}

/** Whether an example can be in the document: readers check examples, and take `$ref` in them for a reference. */
function suits(event: JsonObject, schema: JsonObject | null): boolean {
  const { data } = event
  if (data === undefined || !isPlainData(data)) return false
  if (schema === null) return true
  const result = schemaOf(schema)['~standard'].validate(data)
  return !(result instanceof Promise) && result.issues === undefined
}

function exampleOf({ event, channel, offset }: SeenExample): Json {
  const { data, ...attributes } = event
  const headers = Object.entries(attributes).map(([name, value]) => [`ce-${name}`, value])
  return { name: `${channel}-${offset}`, headers: Object.fromEntries(headers), payload: data }
}
