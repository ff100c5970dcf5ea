/** Whether each consumer of an event's channel has handled it, and why, or why not. */
import type { ReactNode } from 'react'
import { api, type Call } from '../api/client.ts'
import { useAsked } from '../parts/async.ts'
import { CopyAs, shellWord } from '../parts/commands.tsx'
import { plain } from '../parts/format.ts'
import { Problem, Waiting } from '../parts/notice.tsx'
import { type Answer, Reasons } from '../parts/reasons.tsx'
import { To } from '../shell/route.tsx'

interface Standing extends Answer {
  readonly consumer: string
  readonly standing: 'settled' | 'pending' | 'dead letter' | 'never' | 'not there'
}

const LEVELS: Readonly<Record<Standing['standing'], 'good' | 'warn' | 'bad'>> = {
  settled: 'good',
  pending: 'warn',
  'dead letter': 'bad',
  never: 'warn',
  'not there': 'warn',
}

export function Handled({ channel, offset }: { readonly channel: string; readonly offset: number }): ReactNode {
  const call: Call = { path: `channels/${encodeURIComponent(channel)}/why`, query: { offset } }
  const { value, problem, again } = useAsked(
    (signal) => api<{ readonly consumers: readonly Standing[]; readonly all: boolean }>(call, signal),
    [channel, offset],
    3000,
  )
  return (
    <section className="card stack" aria-labelledby="handled">
      <div className="row wrap">
        <h2 id="handled">Who handled it, and why not</h2>
        <span className="end">
          <CopyAs command={`millrace why event ${shellWord(channel)} --offset ${offset}`} call={call} />
        </span>
      </div>
      {problem !== null && <Problem of={problem} again={again} />}
      {value === undefined && problem === null && <Waiting what="its consumers" />}
      {value?.consumers.map((standing) => (
        <One key={standing.consumer} {...{ standing, channel, offset }} />
      ))}
      {value?.consumers.length === 0 && <p className="muted">No consumer takes this channel.</p>}
      {value?.all === false && <p className="muted">There are more consumers. The command line shows all.</p>}
      <p className="muted">
        When a handler finished, and after how many attempts, is not kept: an event is settled or it is not. A trace
        knows it.
      </p>
    </section>
  )
}

function One({
  standing: { consumer, standing, reasons, notKnown = [] },
  channel,
  offset,
}: {
  readonly standing: Standing
  readonly channel: string
  readonly offset: number
}): ReactNode {
  return (
    <div className="stack">
      <div className="row wrap">
        <To to={{ view: 'consumer', name: consumer }}>
          <bdi>{plain(consumer, 80)}</bdi>
        </To>
        <span className={`badge ${LEVELS[standing]}`}>{standing}</span>
        {standing === 'dead letter' && (
          <To to={{ view: 'letters', consumer, offset, channel }}>Look at the dead letter</To>
        )}
      </div>
      <Reasons of={{ reasons, notKnown: standing === 'settled' ? [] : notKnown }} />
    </div>
  )
}
