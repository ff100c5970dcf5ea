/** Dead letters by consumer, grouped by failure: look at one, edit it, redrive carefully, or drop. */
import type { ReactNode } from 'react'
import { api } from '../api/client.ts'
import { live, useNumbers, useOf, useStructure } from '../live/live-flow.ts'
import { useAsked } from '../parts/async.ts'
import { clock, exact, plain } from '../parts/format.ts'
import { Empty, Problem, Waiting } from '../parts/notice.tsx'
import { To, useQuery } from '../shell/route.tsx'
import { type Group, GroupCard } from './group-card.tsx'
import { LetterView } from './letter-view.tsx'
import { type Redrive, RedriveRow } from './redrives.tsx'

interface Groups {
  readonly groups: readonly Group[]
  readonly looked: number
  readonly all: boolean
}

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
  const groups = useAsked((signal) => api<Groups>({ path: `${base}/dead-letter-groups` }, signal), [base], 2500)
  const redrives = useAsked(
    (signal) => api<{ readonly redrives: readonly Redrive[] }>({ path: `${base}/redrives` }, signal),
    [base],
    700,
  )
  return (
    <>
      {redrives.value?.redrives.slice(0, 5).map((redrive) => (
        <RedriveRow key={redrive.id} redrive={redrive} base={base} again={redrives.again} />
      ))}
      {groups.problem !== null && <Problem of={groups.problem} again={groups.again} />}
      {groups.value === undefined && groups.problem === null && <Waiting what="the groups" />}
      {groups.value?.all === false && (
        <p className="muted">Grouped from the oldest {exact(groups.value.looked)}; there are more.</p>
      )}
      {groups.value?.groups.map((group) => (
        <GroupCard
          key={group.fingerprint}
          consumer={consumer}
          group={group}
          changed={() => {
            groups.again()
            redrives.again()
          }}
        />
      ))}
      {groups.value?.groups.length === 0 && <p className="muted">None now ({clock(Date.now())}).</p>}
    </>
  )
}
