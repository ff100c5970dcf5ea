/** All rules, each with a summary of what it does. */
import type { ReactNode } from 'react'
import { api } from '../api/client.ts'
import type { RuleDescription } from '../api/types.ts'
import { useNumbers } from '../live/live-flow.ts'
import { useAsked } from '../parts/async.ts'
import { ago, brief, count, plain } from '../parts/format.ts'
import { Empty, Problem, Waiting } from '../parts/notice.tsx'
import { To } from '../shell/route.tsx'

export interface RuleList {
  readonly rules: readonly RuleDescription[]
  readonly refused: readonly { readonly path: string; readonly reason: string }[]
}

export default function RulesView(): ReactNode {
  const { value, problem, again } = useAsked((signal) => api<RuleList>({ path: 'api/rules' }, signal), [], 3000)
  return (
    <div className="page">
      <div className="page-head">
        <h1>Rules</h1>
        <span className="end">
          <To to={{ view: 'rule' }} className="button primary">
            New rule
          </To>
        </span>
      </div>
      {problem !== null && <Problem of={problem} again={again} />}
      {value === undefined && problem === null && <Waiting what="the rules" />}
      {value?.refused.map(({ path, reason }) => (
        <p key={path} className="notice bad">
          {plain(path, 200)}: {plain(reason, 300)}
        </p>
      ))}
      {value?.rules.length === 0 && (
        <Empty title="There is no rule yet">
          <p>
            A rule watches channels and acts on the events that match: it emits, forwards, calls a server. It needs no
            deployment.
          </p>
        </Empty>
      )}
      {value !== undefined && value.rules.length > 0 && (
        <section className="table-box" aria-label="Rules">
          <table>
            <thead>
              <tr>
                <th>Rule</th>
                <th>State</th>
                <th>On</th>
                <th>When</th>
                <th>Then</th>
                <th>Changed</th>
              </tr>
            </thead>
            <tbody>
              {value.rules.map((rule) => (
                <Row key={rule.name} rule={rule} />
              ))}
            </tbody>
          </table>
        </section>
      )}
    </div>
  )
}

function Row({
  rule: { name, enabled, definition, author, changedAt, problem },
}: {
  readonly rule: RuleDescription
}): ReactNode {
  const { deadLetters = 0 } = useNumbers(`rule:${name}`)
  return (
    <tr>
      <td>
        <To to={{ view: 'rule', name }}>
          <bdi>{plain(name, 100)}</bdi>
        </To>
      </td>
      <td>
        {problem !== null ? (
          <span className="badge bad">cannot act</span>
        ) : enabled ? (
          <span className="badge good">enabled</span>
        ) : (
          <span className="badge warn">disabled</span>
        )}{' '}
        {deadLetters > 0 && <span className="badge bad">{count(deadLetters)} dead</span>}
      </td>
      <td>
        <bdi>{plain([definition.on].flat().join(', '), 100)}</bdi>
      </td>
      <td>
        <bdi className="mono">{definition.when === undefined ? 'always' : brief(definition.when, 80)}</bdi>
      </td>
      <td>
        <bdi className="mono">{brief(definition.then, 80)}</bdi>
      </td>
      <td className="muted">
        {ago(Date.parse(changedAt))} by <bdi>{plain(author, 40)}</bdi>
      </td>
    </tr>
  )
}
