/**
 * Explains why an event does not match, to a caller who may not see all of its fields: the verdict is that of the
 * event, and the words are those of the masked event.
 */
import type { Explanation } from '../rules/dry-run.ts'

export function explainSeen(
  explain: (text: string) => Explanation,
  { text, seen }: { readonly text: string; readonly seen: string },
): Explanation {
  const verdict = explain(text)
  if (seen === text || verdict.matches) return verdict
  const failed = new Set((verdict.conditions ?? []).filter(({ holds }) => !holds).map(({ path }) => path))
  const conditions = (explain(seen).conditions ?? []).filter(({ path }) => failed.has(path))
  const words = conditions.map(({ path, expected, found }) => `${path} must be ${expected}; it is ${shownIn(found)}`)
  const reason = words[0] ?? 'a condition on fields that you may not see does not hold'
  return { matches: false, reason, conditions: conditions.map((condition) => ({ ...condition, holds: false })) }
}

function shownIn(found: readonly unknown[]): string {
  if (found.length === 0) return 'missing'
  return found.map((value) => (typeof value === 'bigint' ? String(value) : JSON.stringify(value))).join(', ')
}
