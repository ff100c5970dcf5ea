/** A rule as it is written, and whether the gateway would accept it. */
import { api } from '../api/client.ts'
import { type Asked, useAsked, useSettled } from '../parts/async.ts'

export type RuleText = Readonly<Record<string, unknown>>

export function ruleIn(text: string, name: string): RuleText | null {
  try {
    const value = JSON.parse(text) as unknown
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? { ...value, name: name === '' ? 'new-rule' : name }
      : null
  } catch {
    return null
  }
}

/** Whether the gateway accepts the rule, by the same checks as when it is saved. Nothing is saved. */
export function useValidity(rule: RuleText | null): Asked<boolean> {
  const settled = useSettled(JSON.stringify(rule), 250)
  return useAsked(
    async (signal) => {
      if (settled === 'null') return false
      const event = { specversion: '1.0', id: 'example', source: '/console', type: 'example' }
      await api(
        { method: 'POST', path: 'api/rule-tests', body: { rule: JSON.parse(settled) as unknown, event } },
        signal,
      )
      return true
    },
    [settled],
  )
}
