/** Why a running consumer does not want an event: the condition of its filter that fails, with the value found. */
import type { StoredText } from '../broker/engine.ts'
import type { InstanceState } from '../broker/inspection.ts'
import type { Want } from '../broker/want.ts'
import { explainPattern } from '../pattern/explain.ts'
import { type Reason, reason } from './reason.ts'
import { explainSeen } from './seen-explanation.ts'

const TYPES_SHOWN = 8

/**
 * Why no instance of the consumer wants the event. Null if one wants it, or no instance is known. `seen` is the event's
 * text as the caller sees it.
 */
export function unwantedReason(
  consumer: string,
  { type, text }: Pick<StoredText, 'type' | 'text'>,
  seen: string,
  instances: readonly InstanceState[],
): Reason | null {
  const wants = instances.flatMap((instance) => instance.wants)
  if (instances.length === 0 || wants.some((want) => accepts(want, type, text))) return null
  const ofType = wants.filter((want) => want.type === null || want.type === type)
  const note = 'This is the filter of the instances that run now'
  if (ofType.length === 0) {
    const types = [...new Set(wants.map((want) => want.type as string))].sort()
    const list = types.slice(0, TYPES_SHOWN).join(', ')
    const more = types.length > TYPES_SHOWN ? ` and ${types.length - TYPES_SHOWN} more` : ''
    return reason('filter', `"${consumer}" handles the types ${list}${more}; the event is "${type}". ${note}`, {
      types,
    })
  }
  const explained = ofType.map(({ pattern }) =>
    explainSeen((each) => explainPattern(pattern as NonNullable<Want['pattern']>, each), { text, seen }),
  )
  const telling = explained.filter(({ conditions: all = [] }) => !all.some(isOfVersions))
  const conditions = telling.map((each) => each.conditions?.filter(({ holds }) => !holds) ?? [])
  const first = telling.map((each) => each.reason).join('; and ')
  return reason('filter', `"${consumer}" does not want the event: ${first}. ${note}`, { failed: conditions.flat() })
}

/**
 * Consumers also want events in other versions of the type, whatever their data is. That such a want does not match
 * says nothing about this event.
 */
function isOfVersions({ path, holds }: { readonly path: string; readonly holds: boolean }): boolean {
  return path === 'dataversion' && !holds
}

function accepts({ type, pattern }: Want, of: string, text: string): boolean {
  return (type === null || type === of) && (pattern === null || explainPattern(pattern, text).matches)
}
