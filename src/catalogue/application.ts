/** The part of a catalogue that one application uses: what it sends and what it receives. */
import type { Catalogue, CatalogueChannel, CatalogueEvent } from './catalogue.ts'

/** A consumer, a rule, or what publishes under a CloudEvents `source`. */
export interface Application {
  readonly kind: 'consumer' | 'rule' | 'source'
  readonly name: string
}

/** The catalogue with only this application as producer and reader, and only the events and channels that it uses. */
export function usedBy({ kind, name }: Application, catalogue: Catalogue): Catalogue {
  const isMe = (each: { readonly name: string }): boolean => each.name === name
  const events = catalogue.events.flatMap((event): CatalogueEvent[] => {
    const producers = event.producers.filter((producer) => producer.kind === kind && isMe(producer))
    const consumers = kind === 'consumer' ? event.consumers.filter(isMe) : []
    const rules = kind === 'rule' ? event.rules.filter(isMe) : []
    const used = new Set([...producers, ...consumers, ...rules].map(({ channel }) => channel))
    if (used.size === 0) return []
    const schemas = event.schemas
      .map((schema) => ({ ...schema, channels: schema.channels.filter((channel) => used.has(channel)) }))
      .filter(({ channels }) => channels.length > 0)
    const channels = event.channels.filter((channel) => used.has(channel))
    const examples = event.examples.filter(({ channel }) => used.has(channel))
    return [{ ...event, channels, schemas, producers, consumers, rules, examples }]
  })
  const channels = catalogue.channels.flatMap((channel): CatalogueChannel[] => {
    const types = events.filter((event) => event.channels.includes(channel.name)).map(({ type }) => type)
    const consumers = kind === 'consumer' ? channel.consumers.filter((each) => each === name) : []
    const rules = kind === 'rule' ? channel.rules.filter((each) => each === name) : []
    const used = types.length + consumers.length + rules.length > 0
    return used ? [{ ...channel, events: types, consumers, rules }] : []
  })
  return { ...catalogue, events, channels }
}

/** The types that others are known to publish, and this application is not. */
export function publishedByOthers({ kind, name }: Application, { events }: Catalogue): ReadonlySet<string> {
  const others = events.filter(
    ({ producers }) => producers.length > 0 && !producers.some((each) => each.kind === kind && each.name === name),
  )
  return new Set(others.map(({ type }) => type))
}
