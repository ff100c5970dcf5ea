/** The events that a program declares, as far as changes of them can be judged: versions and their JSON Schemas. */
import type { JsonObject } from '../base/json-object.ts'
import { type ChannelSpec, isChannel } from '../channel/channel.ts'
import { jsonSchemaOf, knownSchemas } from '../channel/kept-schemas.ts'
import { newestOf } from '../channel/merged-spec.ts'
import { type AnyEventDefinition, isDefinition } from '../event/event.ts'

/** One type of event in one channel. */
export interface DeclaredEvent {
  /** `null`: a definition that no channel of the program carries. */
  readonly channel: string | null
  readonly type: string
  /** The newest version. */
  readonly version: number
  /** By version, as text. `null`: the version has no schema, or its library gives no JSON Schema. */
  readonly schemas: Readonly<Record<string, JsonObject | null>>
  /** Absent where the event is known from a file or a stored declaration. */
  readonly definition?: AnyEventDefinition
}

/** The channels and definitions among the values that a module exports, sorted. */
export function declaredEvents(exported: Iterable<unknown>): DeclaredEvent[] {
  const values = [...exported]
  const channels = values.filter(isChannel)
  const inChannels = channels.flatMap(({ name, events }) =>
    [...(events?.values() ?? [])].map((definition) => declared(name, definition)),
  )
  const carried = new Set(inChannels.map(({ definition }) => definition))
  const alone = values.filter(isDefinition).filter((definition) => !isChannel(definition) && !carried.has(definition))
  return [...inChannels, ...alone.map((definition) => declared(null, definition))].sort(byName)
}

function declared(channel: string | null, definition: AnyEventDefinition): DeclaredEvent {
  const { type, version, schema, earlier } = definition
  const schemas = [...earlier, { version, schema }].map(
    (each) => [String(each.version), each.schema === undefined ? null : jsonSchemaOf(each.schema)] as const,
  )
  return { channel, type, version, schemas: Object.fromEntries(schemas), definition }
}

/** The events of a stored declaration whose schemas or versions are kept. */
export function storedEvents(spec: ChannelSpec): DeclaredEvent[] {
  const kept = knownSchemas(spec.schemas)
  const types = spec.types ?? Object.keys(kept)
  return types.map((type) => {
    const version = newestOf(spec, type)
    const newest = Object.hasOwn(kept, type) ? (kept[type] ?? null) : null
    const earlier = version === 1 ? {} : (spec.versions?.[type]?.earlier ?? {})
    return { channel: spec.name, type, version, schemas: { ...earlier, [version]: newest } }
  })
}

export function byName(one: DeclaredEvent, other: DeclaredEvent): number {
  const [left, right] = [nameOf(one), nameOf(other)]
  return left < right ? -1 : left > right ? 1 : 0
}

/** For messages, and to find the same event elsewhere: `order.paid in payments`. */
export function nameOf({ channel, type }: Pick<DeclaredEvent, 'channel' | 'type'>): string {
  return channel === null ? type : `${type} in ${channel}`
}
