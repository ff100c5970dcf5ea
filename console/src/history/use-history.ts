/** The history of a channel or a consumer, asked for again as time passes. */
import { api, type Call } from '../api/client.ts'
import type { History } from '../api/types.ts'
import { type Asked, useAsked } from '../parts/async.ts'
import { type Shown, timesOf, YESTERDAY_MS } from './ranges.ts'

export interface Histories {
  readonly now: History
  /** The same time a day earlier, with the times of today. */
  readonly yesterday: History | null
}

const POINTS = 360

export function historyCall(path: string, shown: Shown, agoMs = 0): Call {
  return { path: `api/${path}/history`, query: { ...timesOf(shown, Date.now(), agoMs), points: POINTS } }
}

/** The figures of an object over a day or a month. `path` names the object: `consumers/billing`. */
export function useHistory(path: string, shown: Shown): Asked<Histories> {
  const everyMs = shown.zoom !== null || shown.range === '30d' ? 60_000 : 5000
  return useAsked(
    async (signal) => {
      const [now, before] = await Promise.all([
        api<History>(historyCall(path, shown), signal),
        shown.compares ? api<History>(historyCall(path, shown, YESTERDAY_MS), signal) : null,
      ])
      const yesterday = before === null ? null : { ...before, fromMs: before.fromMs + YESTERDAY_MS }
      return { now, yesterday }
    },
    [path, shown],
    everyMs,
  )
}
