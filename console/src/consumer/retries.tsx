/** The events that wait for another attempt: which keys, how often, until when. */
import type { ReactNode } from 'react'
import { api, type Call } from '../api/client.ts'
import type { Failure } from '../api/types.ts'
import { useAsked } from '../parts/async.ts'
import { CopyAs, shellWord } from '../parts/commands.tsx'
import { exact, plain, span } from '../parts/format.ts'
import { Problem, Waiting } from '../parts/notice.tsx'
import { To } from '../shell/route.tsx'

interface Answer {
  readonly retries: readonly {
    readonly channel: string
    readonly offset: number
    readonly key: string | null
    readonly type: string | null
    readonly attempts: number
    readonly dueAtMs: number
    readonly failure: Failure
  }[]
  readonly total: number
}

/** Asked again whenever their number changes. */
export function Retries({ consumer, retrying }: { readonly consumer: string; readonly retrying: number }): ReactNode {
  const call: Call = { path: `api/consumers/${encodeURIComponent(consumer)}/retries` }
  const { value, problem, again } = useAsked((signal) => api<Answer>(call, signal), [consumer, retrying])
  if (problem !== null) return <Problem of={problem} again={again} />
  if (value === undefined) return <Waiting what="the retries" />
  const more = value.total - value.retries.length
  return (
    <section className="table-box" aria-label="Retries">
      <div className="row wrap table-head">
        <h2>Waiting for another attempt</h2>
        <span className="end">
          <CopyAs command={`millrace consumer retries ${shellWord(consumer)}`} call={call} />
        </span>
      </div>
      <table>
        <thead>
          <tr>
            <th>Key</th>
            <th>Event</th>
            <th className="number">Failed attempts</th>
            <th>Next attempt</th>
            <th>Last error</th>
          </tr>
        </thead>
        <tbody>
          {value.retries.map(({ channel, offset, key, type, attempts, dueAtMs, failure }) => (
            <tr key={`${channel}/${offset}`}>
              <td>{key === null ? <span className="muted">none</span> : <bdi>{plain(key, 80)}</bdi>}</td>
              <td>
                <To to={{ view: 'event', name: channel, offset }}>
                  <bdi>{plain(`${type ?? 'removed'} in ${channel}, ${offset}`, 120)}</bdi>
                </To>
              </td>
              <td className="number">{exact(attempts)}</td>
              <td>{dueAtMs <= Date.now() ? 'now' : `in ${span(dueAtMs - Date.now())}`}</td>
              <td>
                <bdi>{plain(`${failure.name}: ${failure.message}`, 200)}</bdi>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {more > 0 && <p className="muted">and {exact(more)} more, which are due later</p>}
    </section>
  )
}
