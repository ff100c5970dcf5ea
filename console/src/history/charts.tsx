/** The charts of a channel or a consumer, with the choice of their time. */
import type { ReactNode } from 'react'
import { CopyAs } from '../parts/commands.tsx'
import { clock } from '../parts/format.ts'
import { Problem, Waiting } from '../parts/notice.tsx'
import { useQuery } from '../shell/route.tsx'
import { RANGES, type Shown, shownIn, zoomed } from './ranges.ts'
import { type Line, TimeChart } from './time-chart.tsx'
import { historyCall, useHistory } from './use-history.ts'

export interface ChartSpec {
  readonly title: string
  readonly lines: readonly Line[]
  readonly value: (value: number) => string
}

const WORDS: Readonly<Record<keyof typeof RANGES, string>> = { '1h': 'Hour', '24h': 'Day', '30d': 'Month' }

/** `path` is that of the object in the API: `consumers/billing`. */
export default function Charts({
  path,
  charts,
}: {
  readonly path: string
  readonly charts: readonly ChartSpec[]
}): ReactNode {
  const query = useQuery()
  const shown = shownIn(query)
  const { value, problem, again } = useHistory(path, shown)
  const zoom = (fromMs: number, toMs: number): void => {
    const next = zoomed(fromMs, toMs)
    if (next !== null) query.set(next, { replace: false })
  }
  return (
    <section className="history card" aria-label="Over time">
      <Choice shown={shown} path={path} />
      {problem !== null && <Problem of={problem} again={again} />}
      {value === undefined ? (
        problem === null && <Waiting what="the figures" />
      ) : (
        <div className="charts">
          {charts.map((chart) => (
            <TimeChart
              key={chart.title}
              {...chart}
              histories={value}
              zoom={zoom}
              reset={() => query.set({ from: null, to: null })}
            />
          ))}
        </div>
      )}
    </section>
  )
}

function Choice({ shown, path }: { readonly shown: Shown; readonly path: string }): ReactNode {
  const query = useQuery()
  const { range, zoom, compares } = shown
  return (
    <div className="row wrap history-choice">
      <h2>Over time</h2>
      {(Object.keys(RANGES) as (keyof typeof RANGES)[]).map((each) => (
        <button
          key={each}
          type="button"
          aria-pressed={range === each && zoom === null}
          onClick={() => query.set({ range: each, from: null, to: null })}
        >
          {WORDS[each]}
        </button>
      ))}
      <button
        type="button"
        aria-pressed={compares}
        disabled={range === '30d'}
        onClick={() => query.set({ compare: compares ? null : 'yes' })}
      >
        Compare with yesterday
      </button>
      {zoom !== null && (
        <button type="button" onClick={() => query.set({ from: null, to: null })}>
          {clock(zoom.fromMs)} to {clock(zoom.toMs)}: show all
        </button>
      )}
      <span className="row wrap end">
        {compares && <span className="muted">dashed: yesterday</span>}
        <CopyAs call={historyCall(path, shown)} />
      </span>
    </div>
  )
}
