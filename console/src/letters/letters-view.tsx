/** Dead letters by consumer, grouped by failure: look at one, edit it, redrive carefully, or drop. */
import type { ReactNode } from 'react'
import { api } from '../api/client.ts'
import { live, useNumbers, useOf, useStructure } from '../live/live-flow.ts'
import { useAsked } from '../parts/async.ts'
import { clock, exact, plain } from '../parts/format.ts'
import { Empty, Problem, Waiting } from '../parts/notice.tsx'
import { To, useQuery } from '../shell/route.tsx'
import { GroupCard } from './group-card.tsx'
import { type Counted, GROUPS_MAX, useGroups } from './groups.ts'
import { LetterView } from './letter-view.tsx'
import { type Redrive, RedriveRow } from './redrives.tsx'

export default function LettersView(): ReactNode {
  const structure = useStructure()
  const query = useQuery()
  const consumer = query.get('consumer')
  if (structure === null) return <Waiting what="the dead letters" />
  if (query.get('offset') !== '')
    return <LetterView consumer={consumer} channel={query.get('channel')} offset={Number(query.get('offset'))} />
  const workers = structure.parts.flatMap(({ id, kind, name }) => (kind === 'consumer' ? [{ id, name }] : []))
  return (
    <div className="page">
      <div className="page-head">
        <h1>Dead letters</h1>
        {consumer !== '' && (
          <>
            <span className="muted">
              of <bdi>{plain(consumer, 80)}</bdi>
            </span>
            <span className="end">
              <To to={{ view: 'letters' }}>All consumers</To>
            </span>
          </>
        )}
      </div>
      {consumer !== '' ? (
        <OfConsumer consumer={consumer} />
      ) : (
        <>
          {workers.map(({ id, name }) => (
            <Section key={id} id={id} consumer={name} />
          ))}
          <None ids={workers.map(({ id }) => id)} />
        </>
      )}
    </div>
  )
}

function Section({ id, consumer }: { readonly id: string; readonly consumer: string }): ReactNode {
  const { deadLetters = 0 } = useNumbers(id)
  if (deadLetters === 0) return null
  return (
    <section className="stack" aria-label={`Dead letters of ${plain(consumer, 80)}`}>
      <h2>
        <To to={{ view: 'letters', consumer }}>
          <bdi>{plain(consumer, 80)}</bdi>
        </To>{' '}
        <span className="muted">{exact(deadLetters)}</span>
      </h2>
      <OfConsumer consumer={consumer} />
    </section>
  )
}

function None({ ids }: { readonly ids: readonly string[] }): ReactNode {
  const some = useOf(() => ids.some((id) => (live.numbers(id).deadLetters ?? 0) > 0))
  return some ? null : (
    <Empty title="There are no dead letters">An event comes here when its consumer has given up on it.</Empty>
  )
}

function OfConsumer({ consumer }: { readonly consumer: string }): ReactNode {
  const base = `api/consumers/${encodeURIComponent(consumer)}`
  const { counted, problem, again } = useGroups(base)
  const redrives = useAsked(
    (signal) => api<{ readonly redrives: readonly Redrive[] }>({ path: `${base}/redrives` }, signal),
    [base],
    700,
  )
  const changed = (): void => {
    again()
    redrives.again()
  }
  return (
    <>
      {redrives.problem !== null && <Problem of={redrives.problem} again={redrives.again} />}
      {redrives.value?.redrives.slice(0, 5).map((redrive) => (
        <RedriveRow key={redrive.id} redrive={redrive} base={base} again={redrives.again} />
      ))}
      {problem !== null && <Problem of={problem} again={again} />}
      {counted === undefined && problem === null && <Waiting what="the groups" />}
      {counted !== undefined && <Progress counted={counted} />}
      {counted?.groups.map((group) => (
        <GroupCard key={group.fingerprint} consumer={consumer} group={group} changed={changed} />
      ))}
      {counted?.next === null && counted.looked === 0 && <p className="muted">None now ({clock(Date.now())}).</p>}
    </>
  )
}

function Progress({ counted: { next, looked, deadLetters, groups } }: { readonly counted: Counted }): ReactNode {
  return (
    <>
      {next !== null && (
        <p className="muted" role="status">
          Counted {exact(looked)} of {exact(Math.max(looked, deadLetters))} …
        </p>
      )}
      {groups.length >= GROUPS_MAX && (
        <p className="notice warn">
          These are the first {exact(GROUPS_MAX)} kinds of failures; there are more. Dead letters of other kinds are not
          shown here.
        </p>
      )}
    </>
  )
}
