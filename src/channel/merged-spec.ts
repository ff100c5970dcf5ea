/** What a repeated declaration makes of a channel: one rule for every engine. */
import { MillraceError } from '../base/errors.ts'
import { SensitiveFields } from '../event/sensitive/masked-event.ts'
import type { ChannelSpec } from './channel.ts'
import { fitting, fittingVersions } from './kept-schemas.ts'

/**
 * Retention, window and limits may change; the kind may not. Types are added and never removed. The last declaration
 * that names a key decides it. The last one that names a type decides its schemas, unless it knows fewer versions of
 * the type: in a deployment, old and new code declare the channel in any order. A schema with sensitive fields is
 * replaced only by another schema. Returns `existing` itself if nothing changes. Whether the schemas may change is
 * decided by `redeclared`.
 * @throws CHANNEL_CONFLICT when the kind, or whether retention is by key, differs
 */
export function mergedSpec(existing: ChannelSpec, declared: ChannelSpec): ChannelSpec {
  const { name, kind } = declared
  if (existing.kind !== kind || existing.retain.latestByKey !== declared.retain.latestByKey) {
    const what = existing.kind === kind ? 'with another retention by key' : `as a ${existing.kind}`
    const message = `channel "${name}" exists already ${what}: declare it the same, use another name, or remove it first`
    throw new MillraceError('CHANNEL_CONFLICT', message, { channel: name, existing, declared })
  }
  const types =
    existing.types === null || declared.types === null
      ? null
      : [...new Set([...existing.types, ...declared.types])].sort()
  const { key = existing.key, schemas: _, versions: __, registered: ___, ...rest } = firstSpec(declared)
  const registered = existing.registered ?? declared.registered
  const merged = {
    ...{ ...rest, types },
    ...(key !== undefined && { key }),
    ...mergedSchemas(existing, declared),
    ...(registered !== undefined && { registered }),
  }
  return JSON.stringify(merged) === JSON.stringify(existing) ? existing : merged
}

/** What is stored of the first declaration of a channel. */
export function firstSpec({ compatibility: _, ...spec }: ChannelSpec): ChannelSpec {
  return spec
}

function mergedSchemas(existing: ChannelSpec, declared: ChannelSpec): Pick<ChannelSpec, 'schemas' | 'versions'> {
  const decides = (type: string): boolean => decidesSchemas(existing, declared, type)
  const of = <Kept>(kept: (spec: ChannelSpec) => Readonly<Record<string, Kept>> | undefined): [string, Kept][] => [
    ...Object.entries(kept(existing) ?? {}).filter(([type]) => !decides(type)),
    ...Object.entries(kept(declared) ?? {}).filter(([type]) => decides(type)),
  ]
  const kept = of((spec) => spec.schemas)
  // Code that knows the type without its schema does not unmask its sensitive fields.
  const isKept = new Set(kept.map(([type]) => type))
  const lost = Object.entries(existing.schemas ?? {}).filter(
    ([type, schema]) => !isKept.has(type) && SensitiveFields.of(schema) !== null,
  )
  const schemas = fitting([...kept, ...lost])
  const versions = fittingVersions(of((spec) => spec.versions))
  return { ...(schemas !== undefined && { schemas }), ...(versions !== undefined && { versions }) }
}

/** Whether a declaration replaces the schemas of a type: it names the type, and knows all of its versions. */
export function decidesSchemas(existing: ChannelSpec, declared: ChannelSpec, type: string): boolean {
  return declared.types?.includes(type) === true && newestOf(declared, type) >= newestOf(existing, type)
}

/** The newest version of a type in a declaration. */
export function newestOf({ versions }: ChannelSpec, type: string): number {
  return versions !== undefined && Object.hasOwn(versions, type) ? (versions[type]?.version ?? 1) : 1
}
