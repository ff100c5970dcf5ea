/** What a repeated declaration makes of a channel: one rule for every engine. */
import { MillraceError } from '../base/errors.ts'
import type { ChannelSpec } from './channel.ts'
import { fitting, type KeptSchemas } from './kept-schemas.ts'

/**
 * Retention, window and limits may change; the kind may not. Types are added and never removed. The last declaration
 * that names a key, or a type's schema, decides it. Returns `existing` itself if nothing changes.
 * @throws CHANNEL_CONFLICT
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
  const { key = existing.key, schemas: _, ...rest } = declared
  const schemas = mergedSchemas(existing, declared)
  const merged = { ...rest, types, ...(key !== undefined && { key }), ...(schemas !== undefined && { schemas }) }
  return JSON.stringify(merged) === JSON.stringify(existing) ? existing : merged
}

function mergedSchemas(existing: ChannelSpec, declared: ChannelSpec): KeptSchemas | undefined {
  const kept = Object.entries(existing.schemas ?? {}).filter(([type]) => declared.types?.includes(type) !== true)
  return fitting([...kept, ...Object.entries(declared.schemas ?? {})])
}
