/** The numbers of a part in a few words, on the map and in the table. */
import type { PartNumbers } from '../api/types.ts'
import { count, rate, span } from '../parts/format.ts'

export function wordsOf(kind: string, numbers: PartNumbers): string {
  if (numbers.goneMs !== undefined) return `gone for ${span(Date.now() - numbers.goneMs)}`
  if (kind === 'channel')
    return `${rate(numbers.rate ?? 0)} · ${count((numbers.next ?? 0) - (numbers.first ?? 0))} kept${(numbers.scheduled ?? 0) > 0 ? ` · ${count(numbers.scheduled ?? 0)} later` : ''}`
  if (kind === 'consumer') {
    const lag = numbers.lag ?? 0
    return `${rate(numbers.rate ?? 0)} · ${lag === 0 ? 'up to date' : `${count(lag)} behind, ${span(numbers.lagMs ?? 0)}`}`
  }
  if (kind === 'rule') {
    if (numbers.enabled === false) return 'disabled'
    return `${rate(numbers.rate ?? 0)} emitted${(numbers.lag ?? 0) > 0 ? ` · ${count(numbers.lag ?? 0)} waiting` : ''}`
  }
  if (kind === 'target') return 'called by rules'
  return rate(numbers.rate ?? 0)
}
