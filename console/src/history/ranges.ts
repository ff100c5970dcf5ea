/** The time that charts show, which is in the URL: the last hour, day or month, or a part of it after a zoom. */
import type { Query } from '../shell/route.tsx'

export const RANGES = { '1h': 3_600_000, '24h': 86_400_000, '30d': 2_592_000_000 } as const
export type Range = keyof typeof RANGES

const DAY_MS = 86_400_000
/** Shorter than this, a chart has too few points to be useful. */
const LEAST_MS = 60_000

export interface Shown {
  readonly range: Range
  /** Set after a zoom: the time stands still. */
  readonly zoom: { readonly fromMs: number; readonly toMs: number } | null
  /** Whether the same time a day earlier is drawn too. */
  readonly compares: boolean
}

export function shownIn(query: Query): Shown {
  const range = query.get('range') in RANGES ? (query.get('range') as Range) : '1h'
  const [fromMs, toMs] = [Number(query.get('from')), Number(query.get('to'))]
  const zoom = fromMs > 0 && toMs - fromMs >= LEAST_MS && Number.isFinite(toMs) ? { fromMs, toMs } : null
  return { range, zoom, compares: query.get('compare') === 'yes' && range !== '30d' }
}

/** The times to ask for. `agoMs` moves them into the past. */
export function timesOf(
  { range, zoom }: Shown,
  nowMs: number,
  agoMs = 0,
): { readonly from: string; readonly to: string } {
  const fromMs = zoom?.fromMs ?? nowMs - RANGES[range]
  const toMs = zoom?.toMs ?? nowMs
  return { from: new Date(fromMs - agoMs).toISOString(), to: new Date(toMs - agoMs).toISOString() }
}

export const YESTERDAY_MS: number = DAY_MS

/** The query of the URL after a zoom. */
export function zoomed(fromMs: number, toMs: number): { readonly from: number; readonly to: number } | null {
  return toMs - fromMs < LEAST_MS ? null : { from: Math.floor(fromMs), to: Math.ceil(toMs) }
}
