/** The flow as a table: for small screens, for screen readers, and to sort parts by problem. */
import { type ReactNode, useMemo } from 'react'
import type { FlowLine } from '../api/types.ts'
import { troubleOf, useNumbers } from '../live/live-flow.ts'
import { plain } from '../parts/format.ts'
import { placeOf } from '../shell/palette.tsx'
import { To } from '../shell/route.tsx'
import { KIND_WORDS, type Shown, type ShownPart } from './choose.ts'
import { wordsOf } from './part-words.ts'

const ORDER = ['source', 'channel', 'consumer', 'rule', 'target']

export function FlowTable({ shown }: { readonly shown: Shown }): ReactNode {
  const parts = useMemo(
    () =>
      [...shown.parts].sort(
        (one, other) => ORDER.indexOf(one.kind) - ORDER.indexOf(other.kind) || one.name.localeCompare(other.name),
      ),
    [shown],
  )
  return (
    <section className="table-box" aria-label="Parts of the flow">
      <table>
        <thead>
          <tr>
            <th>Part</th>
            <th>State</th>
            <th>Now</th>
            <th>Sends to</th>
          </tr>
        </thead>
        <tbody>
          {parts.map((part) => (
            <Row key={part.id} part={part} lines={shown.lines} />
          ))}
        </tbody>
      </table>
    </section>
  )
}

function Row({ part, lines }: { readonly part: ShownPart; readonly lines: readonly FlowLine[] }): ReactNode {
  const numbers = useNumbers(part.id)
  const trouble = troubleOf(numbers)
  const to = lines.filter((line) => line.from === part.id).map((line) => line.to.replace(/^(group:)?\w+:/, ''))
  return (
    <tr className={numbers.goneMs === undefined ? undefined : 'gone'}>
      <td>
        <span className={`kind-dot part-${part.kind}`} aria-hidden="true" />
        <span className="muted">{KIND_WORDS[part.kind]} </span>
        <To to={placeOf(part)}>
          <bdi>{plain(part.name, 80)}</bdi>
        </To>
      </td>
      <td>
        {trouble === null ? (
          <span className="muted">ok</span>
        ) : (
          <span className={`badge ${trouble.level}`}>{trouble.text}</span>
        )}
      </td>
      <td className="nowrap">{wordsOf(part.kind, numbers)}</td>
      <td>
        <bdi>{plain(to.slice(0, 6).join(', ') + (to.length > 6 ? ` and ${to.length - 6} more` : ''), 200)}</bdi>
      </td>
    </tr>
  )
}
