/** What is known of the chosen part, and links to its pages. */
import type { ReactNode } from 'react'
import type { FlowLine } from '../api/types.ts'
import { troubleOf, useNumbers } from '../live/live-flow.ts'
import { ago, bytes, count, exact, plain, rate, span } from '../parts/format.ts'
import { placeOf } from '../shell/palette.tsx'
import { To } from '../shell/route.tsx'
import { KIND_WORDS, type ShownPart } from './choose.ts'

const OPEN_WORDS: Readonly<Record<string, string>> = {
  channel: 'Look at its events',
  consumer: 'Open the consumer',
  rule: 'Open the rule',
}

export function PartPanel({
  part,
  lines,
  around,
  close,
}: {
  readonly part: ShownPart
  readonly lines: readonly FlowLine[]
  readonly around: () => void
  readonly close: () => void
}): ReactNode {
  const numbers = useNumbers(part.id)
  const trouble = troubleOf(numbers)
  const unsure = lines.filter((line) => !line.certain && (line.from === part.id || line.to === part.id)).length
  return (
    <aside className="panel card" aria-label={`About ${part.kind} ${plain(part.name, 60)}`}>
      <div className="row">
        <span className={`part-kind part-${part.kind}`}>{KIND_WORDS[part.kind]}</span>
        <button type="button" className="quiet end" onClick={close} aria-label="Close">
          ✕
        </button>
      </div>
      <h2>
        <bdi>{plain(part.name, 120)}</bdi>
      </h2>
      {trouble !== null && (
        <p className={trouble.level}>
          {trouble.text}
          {numbers.stalled != null && `: ${plain(numbers.stalled, 300)}`}
          {numbers.problem != null && `: ${plain(numbers.problem, 300)}`}
          {numbers.pause != null && `: ${plain(numbers.pause, 300)}`}
        </p>
      )}
      <dl>{factsOf(part, numbers)}</dl>
      {unsure > 0 && <p className="muted">Dashed lines are likely: several consumers read what caused those events.</p>}
      <div className="row wrap">
        {OPEN_WORDS[part.kind] !== undefined && part.members.length === 1 && (
          <To to={placeOf(part)} className="button primary">
            {OPEN_WORDS[part.kind]}
          </To>
        )}
        {(numbers.deadLetters ?? 0) > 0 && (
          <To to={{ view: 'letters', ...(part.kind === 'consumer' && { consumer: part.name }) }} className="button">
            Dead letters
          </To>
        )}
        {part.members.length === 1 && (
          <button type="button" onClick={around}>
            Two steps from here
          </button>
        )}
      </div>
    </aside>
  )
}

function factsOf(part: ShownPart, numbers: ReturnType<typeof useNumbers>): ReactNode {
  const facts: [string, string][] = []
  if (numbers.rate !== undefined) facts.push(['Rate', rate(numbers.rate)])
  if (part.kind === 'channel') {
    facts.push(
      ['Kind', part.detail ?? ''],
      ['Kept', exact((numbers.next ?? 0) - (numbers.first ?? 0))],
      ['Stored', bytes(numbers.bytes)],
    )
    facts.push(['Delayed', count(numbers.scheduled ?? 0)])
  }
  if (part.kind === 'consumer') {
    facts.push(['Behind', `${exact(numbers.lag ?? 0)} events`], ['Oldest waits', span(numbers.lagMs ?? 0)])
    facts.push(['In flight', exact(numbers.inFlight ?? 0)], ['Retrying', exact(numbers.retrying ?? 0)])
    facts.push(
      ['Dead letters', exact(numbers.deadLetters ?? 0)],
      ['Parked', exact(numbers.parked ?? 0)],
      ['Instances', exact(numbers.instances ?? 0)],
    )
  }
  if (part.kind === 'rule')
    facts.push(['State', numbers.enabled === false ? 'disabled' : 'enabled'], ['Waiting', exact(numbers.lag ?? 0)])
  if (part.kind === 'source' && numbers.lastMs !== undefined) facts.push(['Seen', ago(numbers.lastMs)])
  if (part.members.length > 1) facts.push(['Parts', String(part.members.length)])
  return facts.map(([name, value]) => (
    <div key={name}>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  ))
}
