/**
 * The shape of an event: CloudEvents 1.0.2, as its JSON format has it.
 * @see https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md
 */

/** Attributes that a publisher may set; each is optional, with the defaults said. */
export interface EventAttributes {
  /** Unique within `source`. @default a new UUID version 7 */
  readonly id?: string
  /** Who says so: a URI reference. @default the event definition's, else the broker's `source` */
  readonly source?: string
  /** When it happened. @default now */
  readonly time?: string | Date
  /** What it is about, within the source. */
  readonly subject?: string
  /** Media type of the data. @default `application/json` */
  readonly datacontenttype?: string
  readonly dataschema?: string
  /** The key for order and partition, where the channel has no `key` function of its own. */
  readonly partitionkey?: string
  readonly traceparent?: string
  readonly tracestate?: string
  /** The event or request that started the whole story. */
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
 * A CloudEvent as it is stored and served: the JSON format's members, extension attributes beside the others
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
  /** Its place in its channel. */
  readonly offset: number
}

/** An attribute by name, extension attributes included; `undefined` when the event does not have it. */
export function attribute(event: CloudEvent, name: string): unknown {
  return name === 'data' || name === 'data_base64' || !Object.hasOwn(event, name) ? undefined : (event as unknown as Readonly<Record<string, unknown>>)[name]
}
