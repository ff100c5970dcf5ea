/**
 * The form of an event: CloudEvents 1.0.2, as its JSON format has it.
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
 */

/** Attributes that a publisher may set. Each is optional. */
export interface EventAttributes {
  /** Unique within `source`. @default a new UUID version 7 */
  readonly id?: string
  /** The system that published it: a URI reference. @default the event definition's, else the broker's `source` */
  readonly source?: string
  /** When it happened. @default now */
  readonly time?: string | Date
  /** What it is about, within the source. */
  readonly subject?: string
  /** Media type of the data. @default `application/json` */
  readonly datacontenttype?: string
  readonly dataschema?: string
  /** The version of its type that the data is in: a whole number. @default the event definition's */
  readonly dataversion?: number | string
  /** The key for order, if the channel has no `key` of its own. */
  readonly partitionkey?: string
  readonly traceparent?: string
  readonly tracestate?: string
  /** The event or request at the beginning of the chain. */
  readonly correlationid?: string
  /** The id of the event that caused this one. */
  readonly causationid?: string
  /** Other extension attributes: names of lower-case letters and digits. */
  readonly extensions?: Readonly<Record<string, string | number | boolean>>
}

/** A fact about to be published. Made by calling an event definition: `ItemAdded({ cart: 'c-1', … })`. */
export interface NewEvent<Type extends string = string, Data = unknown> extends EventAttributes {
  readonly id: string
  readonly type: Type
  readonly time: string
  readonly data: Data
}

/**
 * A CloudEvent as it is stored and served: the members of the JSON format, with extension attributes as further members
 * (`attribute(event, 'name')` reads one that has no field here).
 */
export interface CloudEvent<Type extends string = string, Data = unknown> {
  readonly specversion: '1.0'
  readonly id: string
  readonly source: string
  readonly type: Type
  readonly time?: string
  readonly subject?: string
  readonly datacontenttype?: string
  readonly dataschema?: string
  /** The version of its type that the data is in; absent in version 1. Over HTTP it may be text. */
  readonly dataversion?: number | string
  readonly partitionkey?: string
  readonly traceparent?: string
  readonly tracestate?: string
  readonly correlationid?: string
  readonly causationid?: string
  readonly data: Data
  /** Binary data, in base64; `data` is absent then. */
  readonly data_base64?: string
}

/** A CloudEvent read back from a channel. */
export type StoredEvent<Type extends string = string, Data = unknown> = CloudEvent<Type, Data> & {
  /** Its offset in its channel. */
  readonly offset: number
}

/**
 * The member with extension attributes whose names are taken: `offset` is a member of a stored event, `extensions` of a
 * new one. Copies of the event keep this member, and publishing writes its attributes.
 */
export const SHADOWED: unique symbol = Symbol('millrace.shadowed')
export type Shadowed = Readonly<Record<string, unknown>>

/** Whether an extension attribute of this name is kept in `SHADOWED`. */
export function isShadowed(name: string): boolean {
  return name === 'offset' || name === 'extensions'
}

/** Moves the attributes of an event in the JSON format whose names are taken to `SHADOWED`. */
export function setAside(event: { offset?: unknown; extensions?: unknown; [SHADOWED]?: Shadowed }): void {
  const { offset, extensions } = event
  if (offset === undefined && extensions === undefined) return
  const shadowed = Object.entries({ offset, extensions }).filter(([, value]) => value !== undefined && value !== null)
  delete event.offset
  delete event.extensions
  if (shadowed.length > 0) event[SHADOWED] = Object.fromEntries(shadowed)
}

/**
 * An attribute by name, extension attributes included; `undefined` when the event does not have it. An extension
 * attribute named `offset` is the publisher's, and not the event's offset in its channel.
 */
export function attribute(event: CloudEvent, name: string): unknown {
  if (
    typeof name !== 'string' ||
    name === 'data' ||
    name === 'data_base64' ||
    typeof event !== 'object' ||
    event === null
  )
    return undefined
  const attributes = isShadowed(name)
    ? (event as { readonly [SHADOWED]?: Shadowed })[SHADOWED]
    : (event as unknown as Shadowed)
  return attributes !== undefined && Object.hasOwn(attributes, name) ? attributes[name] : undefined
}
