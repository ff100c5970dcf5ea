/**
 * Masks the sensitive fields of a channel's events, by the schemas of its declaration. An event of a type without a
 * schema has nothing to mask.
 */
import { type MaskedEvent, SensitiveFields, unmasked } from '../event/sensitive/masked-event.ts'
import type { ChannelSpec } from './channel.ts'
import type { KeptSchemas } from './kept-schemas.ts'

export class ChannelMask {
  readonly #byType: ReadonlyMap<string, SensitiveFields>

  private constructor(byType: ReadonlyMap<string, SensitiveFields>) {
    this.#byType = byType
  }

  /** Null if the channel has no event with sensitive fields. */
  static of({ schemas }: Pick<ChannelSpec, 'schemas'>): ChannelMask | null {
    if (schemas === undefined) return null
    let mask = masks.get(schemas)
    if (mask === undefined) {
      const byType = new Map<string, SensitiveFields>()
      for (const [type, schema] of Object.entries(schemas)) {
        const fields = SensitiveFields.of(schema)
        if (fields !== null) byType.set(type, fields)
      }
      mask = byType.size === 0 ? null : new ChannelMask(byType)
      masks.set(schemas, mask)
    }
    return mask
  }

  /** The event of this type with its sensitive fields masked. `text` is CloudEvents JSON. */
  event(type: string, text: string): MaskedEvent {
    return this.#byType.get(type)?.mask(text) ?? unmasked(text)
  }
}

/** Compiled once for each declaration. */
const masks = new WeakMap<KeptSchemas, ChannelMask | null>()
