/** What a channel becomes that is declared again: the one rule, for every engine. */
import { MillraceError } from '../base/errors.ts'
import type { ChannelSpec } from './channel.ts'

/**
 * Retention, window and limits may change; what a channel is may not. Types are added, never taken away. Answers `existing` itself where nothing changes.
 * @throws CHANNEL_CONFLICT
 */
export function mergedSpec(existing: ChannelSpec, declared: ChannelSpec): ChannelSpec {
  const { name, kind } = declared
  if (existing.kind !== kind || existing.retain.latestByKey !== declared.retain.latestByKey) {
    const what = existing.kind === kind ? 'with another retention by key' : `as a ${existing.kind}`
    const message = `channel "${name}" exists already ${what}: declare it the same, use another name, or remove it first`
    throw new MillraceError('CHANNEL_CONFLICT', message, { channel: name, existing, declared })
  }
  const types = existing.types === null || declared.types === null ? null : [...new Set([...existing.types, ...declared.types])].sort()
  const merged = { ...declared, types }
  return JSON.stringify(merged) === JSON.stringify(existing) ? existing : merged
}
