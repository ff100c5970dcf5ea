/**
 * Masks the sensitive fields of a channel's events, by the schemas of its declaration: those of the earlier versions of
 * a type too, whatever the version of the event is. An event of a type without a schema has nothing to mask.
 */
import { SENSITIVE } from '../event/sensitive/marked-places.ts'
import { type MaskedEvent, SensitiveFields, unmasked } from '../event/sensitive/masked-event.ts'
import type { ChannelSpec } from './channel.ts'

const EVERYTHING = SensitiveFields.of({ [SENSITIVE]: true }) as SensitiveFields

type Declared = Pick<ChannelSpec, 'schemas' | 'versions'>

export class ChannelMask {
  /** Masks all data: for a channel whose declaration is not known. */
  static readonly ofUnknown: ChannelMask = new ChannelMask({ get: () => [EVERYTHING] })
  readonly #byType: { get(type: string): readonly SensitiveFields[] | undefined }

  private constructor(byType: { get(type: string): readonly SensitiveFields[] | undefined }) {
    this.#byType = byType
  }

  /** Null if the channel has no event with sensitive fields. */
  static of(declared: Declared): ChannelMask | null {
    const { schemas, versions } = declared
    // Declarations are not changed: another declaration has other objects.
    const key = schemas ?? versions
    if (key === undefined) return null
    const known = masks.get(key)
    if (known !== undefined && known.versions === versions) return known.mask
    const byType = fieldsByType(declared)
    const mask = byType.size === 0 ? null : new ChannelMask(byType)
    masks.set(key, { versions, mask })
    return mask
  }

  /** Whether events of this type have sensitive fields. */
  has(type: string): boolean {
    return this.#byType.get(type) !== undefined
  }

  /** The event of this type with its sensitive fields masked. `text` is CloudEvents JSON. */
  event(type: string, text: string): MaskedEvent {
    let seen = unmasked(text)
    for (const fields of this.#byType.get(type) ?? []) seen = both(seen, fields.mask(seen.text))
    return seen
  }
}

function fieldsByType({ schemas = {}, versions = {} }: Declared): Map<string, SensitiveFields[]> {
  const byType = new Map<string, SensitiveFields[]>()
  const earlier = Object.entries(versions).flatMap(([type, each]) =>
    Object.values(each.earlier).map((schema) => [type, schema] as const),
  )
  for (const [type, schema] of [...Object.entries(schemas), ...earlier]) {
    const fields = schema === null ? null : SensitiveFields.of(schema)
    if (fields !== null) byType.set(type, [...(byType.get(type) ?? []), fields])
  }
  return byType
}

/** The event, masked twice. A value that the first mask has replaced is not from a masked event. */
function both(first: MaskedEvent, second: MaskedEvent): MaskedEvent {
  if (!first.masked || !second.masked) return second.masked ? second : first
  return { ...second, fromMasked: first.fromMasked, redact: (text) => second.redact(first.redact(text)) }
}

/** Compiled once for each declaration. */
const masks = new WeakMap<object, { readonly versions: Declared['versions']; readonly mask: ChannelMask | null }>()
