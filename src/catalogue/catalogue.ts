/**
 * The catalogue: which events there are, with their schemas, who publishes and who consumes them, and examples. It is
 * made from the stored declarations and from what was seen. Pure: the same facts give the same catalogue, in the same
 * order.
 */
import type { JsonObject } from '../base/json-object.ts'
import { ownerOf } from '../base/names.ts'
import type { ChannelKind, ChannelSpec } from '../channel/channel.ts'
import type { KeySpec } from '../channel/key-path.ts'
import type { Maker } from './makers.ts'
import { type RuleFacts, takesChannel } from './rule-facts.ts'
import { fingerprintOf } from './schema-text.ts'
import { type DeclaredSchema, type SchemaState, schemasOf } from './schema-versions.ts'
import { byName, grouped } from './sorted.ts'

/** What was seen of the events of one type in one channel. */
export interface SeenType {
  readonly channel: string
  readonly type: string
  readonly makers: readonly (Maker & { readonly certain: boolean; readonly lastMs: number })[]
  /** The newest event whose data may be shown. */
  readonly example: SeenExample | null
}

export interface SeenExample {
  readonly channel: string
  readonly offset: number
  /** The version of its type that the event is in. */
  readonly version: number
  /** The event as CloudEvents JSON, with its sensitive fields masked. */
  readonly event: JsonObject
  readonly masked: boolean
}

/** What the catalogue is made from. */
export interface CatalogueFacts {
  readonly channels: readonly ChannelSpec[]
  readonly consumers: readonly { readonly name: string; readonly channels: readonly string[] }[]
  readonly rules: readonly RuleFacts[]
  readonly seen: readonly SeenType[]
  /** Faults of the look itself: what could not be read. */
  readonly unread: readonly CatalogueWarning[]
}

export interface CatalogueSchema {
  /** The version of the event type, from 1. */
  readonly version: number
  /** There is a newer version in these channels; kept events may still be in this one. */
  readonly earlier: boolean
  readonly state: SchemaState
  /** The channels whose declaration has it. */
  readonly channels: readonly string[]
  /** The digest of the schema, which does not depend on the order of its members; null if it is not known. */
  readonly fingerprint: string | null
  /** Where the gateway serves it: usable as `dataschema`. */
  readonly path: string | null
  readonly schema: JsonObject | null
}

/** Who publishes events of a type to a channel, as events and rules show it. */
export interface CatalogueProducer {
  readonly kind: Maker['kind']
  readonly name: string
  readonly channel: string
  /** False: several consumers read the cause, so it is likely only. */
  readonly certain: boolean
  /** When an event was last seen; null: a rule would write it. */
  readonly lastSeen: string | null
}

export interface CatalogueReader {
  readonly name: string
  readonly channel: string
}

export interface CatalogueEvent {
  readonly type: string
  readonly channels: readonly string[]
  readonly schemas: readonly CatalogueSchema[]
  readonly producers: readonly CatalogueProducer[]
  /** The consumers of its channels. A consumer may ignore the type. */
  readonly consumers: readonly CatalogueReader[]
  /** The rules that may act on it, as far as their conditions say. */
  readonly rules: readonly CatalogueReader[]
  readonly examples: readonly SeenExample[]
}

export interface CatalogueChannel {
  readonly name: string
  readonly kind: ChannelKind
  /** `null`: it carries any type. */
  readonly types: readonly string[] | null
  /** Types that it carries or was seen to carry. */
  readonly events: readonly string[]
  /** Where the key of an event is; `function`: only the application knows; null: the channel gives no key. */
  readonly key: KeySpec
  readonly retain: ChannelSpec['retain']
  readonly eventBytesMax: number
  readonly consumers: readonly string[]
  readonly rules: readonly string[]
}

export interface CatalogueConsumer {
  readonly name: string
  readonly channels: readonly string[]
  /** What it was seen to emit. */
  readonly emits: readonly { readonly channel: string; readonly type: string; readonly certain: boolean }[]
}

export interface CatalogueRule {
  readonly name: string
  readonly description: string | null
  readonly enabled: boolean
  readonly on: readonly string[]
  readonly writes: readonly string[]
}

export interface CatalogueWarning {
  readonly code: 'opaque-schema' | 'large-schema' | 'two-schemas' | 'not-read'
  readonly message: string
  readonly channel?: string
  readonly type?: string
}

export interface Catalogue {
  readonly events: readonly CatalogueEvent[]
  readonly channels: readonly CatalogueChannel[]
  readonly consumers: readonly CatalogueConsumer[]
  readonly rules: readonly CatalogueRule[]
  readonly warnings: readonly CatalogueWarning[]
}

/** Channels and consumers that Millrace makes for itself are not in the catalogue. */
export function isListed(channel: string): boolean {
  return !channel.startsWith('$')
}

export function catalogueOf(given: CatalogueFacts): Catalogue {
  const channels = given.channels.filter(({ name }) => isListed(name)).sort(byName)
  const consumers = given.consumers.filter(({ name }) => ownerOf(name) !== '$rules')
  const facts = { ...given, channels, consumers, rules: [...given.rules].sort(byName) }
  const events = [...typesOf(facts)].sort().map((type) => eventOf(type, facts))
  return {
    events,
    channels: channels.map((channel) => channelOf(channel, facts)),
    consumers: [...consumers].sort(byName).map(({ name, channels: taken }) => ({
      name,
      channels: [...taken].filter(isListed).sort(),
      emits: emissionsOf(name, events),
    })),
    rules: facts.rules.map((rule) => ruleOf(rule, facts)),
    warnings: [...events.flatMap(schemaWarnings), ...given.unread],
  }
}

/** The part of a catalogue that is about one event type. */
export function ofType({ events, channels, consumers, rules, warnings }: Catalogue, type: string): Catalogue {
  const found = events.filter((event) => event.type === type)
  const users = new Set(
    found.flatMap((event) => [...event.consumers, ...event.rules, ...event.producers].map(({ name }) => name)),
  )
  return {
    events: found,
    channels: channels.filter(({ name }) => found.some((event) => event.channels.includes(name))),
    consumers: consumers.filter(({ name }) => users.has(name)),
    rules: rules.filter(({ name }) => users.has(name)),
    warnings: warnings.filter((warning) => warning.type === type),
  }
}

function typesOf({ channels, seen, rules }: CatalogueFacts): Set<string> {
  return new Set([
    ...channels.flatMap(({ types }) => types ?? []),
    ...channels.flatMap(({ schemas = {} }) => Object.keys(schemas)),
    ...seen.map(({ type }) => type),
    ...rules.flatMap(({ writes }) => writes.flatMap(({ type }) => type ?? [])),
  ])
}

function eventOf(type: string, facts: CatalogueFacts): CatalogueEvent {
  const seen = facts.seen.filter((each) => each.type === type).sort((a, b) => (a.channel < b.channel ? -1 : 1))
  const writes = facts.rules.flatMap(({ name, writes }) =>
    writes.filter((write) => write.type === type).map(({ channel }) => ({ name, channel })),
  )
  const names = new Set([
    ...facts.channels.filter((each) => carries(each, type)).map(({ name }) => name),
    ...seen.map(({ channel }) => channel),
    ...writes.map(({ channel }) => channel),
  ])
  const channels = [...names].sort()
  return {
    type,
    channels,
    schemas: schemaEntries(type, channels, facts),
    producers: producersOf(seen, writes),
    consumers: facts.consumers
      .flatMap(({ name, channels: taken }) =>
        taken.filter((channel) => names.has(channel)).map((channel) => ({ name, channel })),
      )
      .sort(byName),
    rules: facts.rules
      .filter(({ mayTake }) => mayTake(type))
      .flatMap(({ name, on }) =>
        channels.filter((channel) => takesChannel(on, channel)).map((channel) => ({ name, channel })),
      ),
    examples: seen.flatMap(({ example }) => example ?? []),
  }
}

function carries({ types, schemas = {} }: ChannelSpec, type: string): boolean {
  return types?.includes(type) === true || Object.hasOwn(schemas, type)
}

/**
 * One entry for each version and different schema, the newest version first; channels with the same schema share it.
 */
function schemaEntries(type: string, channels: readonly string[], facts: CatalogueFacts): readonly CatalogueSchema[] {
  const specs = new Map(facts.channels.map((spec) => [spec.name, spec]))
  const declared = channels.flatMap((channel) => {
    const spec = specs.get(channel)
    const schemas = spec === undefined ? [UNDECLARED] : schemasOf(spec, type)
    return schemas.map(({ schema, ...rest }) => ({
      ...rest,
      schema,
      channel,
      fingerprint: schema === null ? null : fingerprintOf(schema),
    }))
  })
  const groups = grouped(declared, ({ version, earlier, state, fingerprint }) =>
    [version, earlier, fingerprint ?? state].join('/'),
  )
  return [...groups.values()]
    .flatMap(([first, ...same]): CatalogueSchema[] => {
      if (first === undefined) return []
      const { channel, version, earlier, state, schema, fingerprint } = first
      const path = fingerprint === null ? null : schemaPath(type, fingerprint)
      return [
        {
          version,
          earlier,
          state,
          channels: [channel, ...same.map((each) => each.channel)],
          fingerprint,
          path,
          schema,
        },
      ]
    })
    .sort((a, b) => Number(a.earlier) - Number(b.earlier) || b.version - a.version)
}

/** A channel that a rule writes to, and that is not there. */
const UNDECLARED: DeclaredSchema = { version: 1, earlier: false, state: 'none', schema: null }

export function schemaPath(type: string, fingerprint: string): string {
  return `/schemas/${encodeURIComponent(type)}/${fingerprint}`
}

function producersOf(
  seen: readonly SeenType[],
  writes: readonly { readonly name: string; readonly channel: string }[],
): readonly CatalogueProducer[] {
  const producers = new Map<string, CatalogueProducer>()
  for (const { name, channel } of writes)
    producers.set(`rule/${channel}/${name}`, { kind: 'rule', name, channel, certain: true, lastSeen: null })
  for (const { channel, makers } of seen)
    for (const { kind, name, certain, lastMs } of makers)
      producers.set(`${kind}/${channel}/${name}`, {
        kind,
        name,
        channel,
        certain,
        lastSeen: new Date(lastMs).toISOString(),
      })
  return [...producers].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, producer]) => producer)
}

function channelOf(spec: ChannelSpec, { consumers, rules, seen }: CatalogueFacts): CatalogueChannel {
  const { name, kind, types, key = null, retain, eventBytesMax, schemas = {} } = spec
  const events = new Set([
    ...(types ?? []),
    ...Object.keys(schemas),
    ...seen.filter(({ channel }) => channel === name).map(({ type }) => type),
  ])
  return {
    name,
    kind,
    types,
    events: [...events].sort(),
    key,
    retain,
    eventBytesMax,
    consumers: consumers
      .filter(({ channels }) => channels.includes(name))
      .map((consumer) => consumer.name)
      .sort(),
    rules: rules.filter(({ on }) => takesChannel(on, name)).map((rule) => rule.name),
  }
}

function emissionsOf(consumer: string, events: readonly CatalogueEvent[]): CatalogueConsumer['emits'] {
  return events.flatMap(({ type, producers }) =>
    producers
      .filter(({ kind, name }) => kind === 'consumer' && name === consumer)
      .map(({ channel, certain }) => ({ channel, type, certain })),
  )
}

function ruleOf({ name, description, enabled, on, writes }: RuleFacts, { channels }: CatalogueFacts): CatalogueRule {
  return {
    name,
    description,
    enabled,
    on: channels.map((channel) => channel.name).filter((channel) => takesChannel(on, channel)),
    writes: [...new Set(writes.map(({ channel }) => channel))].sort(),
  }
}

function schemaWarnings({ type, schemas }: CatalogueEvent): readonly CatalogueWarning[] {
  const known = schemas.filter(({ state, earlier }) => state === 'known' && !earlier)
  const several: readonly CatalogueWarning[] =
    known.length < 2
      ? []
      : [
          {
            code: 'two-schemas',
            message: `event "${type}" has ${known.length} different schemas: ${known.map(({ channels }) => channels.join(', ')).join(' · ')}`,
            type,
          },
        ]
  return [
    ...several,
    ...schemas.flatMap((schema) => schema.channels.flatMap((channel) => unknown(schema, channel, type))),
  ]
}

function unknown(
  { state, version, earlier }: CatalogueSchema,
  channel: string,
  type: string,
): readonly CatalogueWarning[] {
  const of = earlier ? `version ${version} of "${type}"` : `"${type}"`
  if (state === 'opaque')
    return [
      {
        code: 'opaque-schema',
        message: `the schema of ${of} in channel "${channel}" is opaque: its library gives no JSON Schema for the input side (Standard JSON Schema)`,
        channel,
        type,
      },
    ]
  if (state === 'too large')
    return [
      {
        code: 'large-schema',
        message: `the schema of ${of} does not fit into the declaration of channel "${channel}"`,
        channel,
        type,
      },
    ]
  return []
}
