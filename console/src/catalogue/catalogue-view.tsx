/** All event types: where they are, who publishes and who reads them, and whether their schema is known. */
import type { ReactNode } from 'react'
import { api, type Call } from '../api/client.ts'
import { useAsked } from '../parts/async.ts'
import { CopyAs } from '../parts/commands.tsx'
import { count, plain } from '../parts/format.ts'
import { Empty, Problem, Waiting } from '../parts/notice.tsx'
import { FindHead } from '../shell/find-head.tsx'
import { To, useQuery } from '../shell/route.tsx'
import type { Catalogue, EventEntry } from './types.ts'

const ASYNC_API: Call = { path: 'asyncapi.json' }
const WARNINGS_SHOWN = 20

export default function CatalogueView(): ReactNode {
  const find = useQuery().get('find').toLowerCase()
  const { value, problem, again } = useAsked((signal) => api<Catalogue>({ path: 'catalogue' }, signal), [], 5000)
  const events = value?.events.filter((event) => textOf(event).includes(find)) ?? []
  return (
    <div className="page">
      <FindHead title="Catalogue" label="Find an event type, or what publishes or reads it" />
      {problem !== null && <Problem of={problem} again={again} />}
      {value === undefined && problem === null && <Waiting what="the catalogue" />}
      {value !== undefined && events.length === 0 && (
        <Empty title={find === '' ? 'There is no event type yet' : 'No event type has this'}>
          <p>An event type is listed when a channel declares it, or when an event of it is published.</p>
        </Empty>
      )}
      {events.length > 0 && (
        <section className="table-box" aria-label="Event types">
          <table>
            <thead>
              <tr>
                <th>Event</th>
                <th>Channels</th>
                <th>Published by</th>
                <th>Read by</th>
                <th>Schema</th>
              </tr>
            </thead>
            <tbody>
              {events.map((event) => (
                <Row key={event.type} event={event} />
              ))}
            </tbody>
          </table>
        </section>
      )}
      {value !== undefined && <Warnings of={value} />}
      <p className="row wrap muted">
        The same as AsyncAPI, or as Markdown files: <CopyAs command="millrace docs" call={ASYNC_API} />
      </p>
    </div>
  )
}

function textOf({ type, channels, producers, consumers, rules }: EventEntry): string {
  return [type, ...channels, ...[...producers, ...consumers, ...rules].map(({ name }) => name)].join('\n').toLowerCase()
}

function Row({
  event: { type, channels, schemas, producers, consumers, rules },
}: {
  readonly event: EventEntry
}): ReactNode {
  return (
    <tr>
      <td>
        <To to={{ view: 'type', name: type }}>
          <bdi>{plain(type, 120)}</bdi>
        </To>
      </td>
      <td>{namesOf(channels)}</td>
      <td>{namesOf(producers.map(({ name }) => name))}</td>
      <td>{namesOf([...consumers, ...rules].map(({ name }) => name))}</td>
      <td>
        <SchemaBadges states={schemas.map(({ state }) => state)} />
      </td>
    </tr>
  )
}

function namesOf(names: readonly string[]): ReactNode {
  const all = [...new Set(names)]
  return (
    <bdi>
      {plain(all.slice(0, 3).join(', '), 120)}
      {all.length > 3 && ` and ${count(all.length - 3)} more`}
    </bdi>
  )
}

const LEVELS: Readonly<Record<string, string>> = { known: 'good', opaque: 'warn', 'too large': 'warn' }

export function SchemaBadges({ states }: { readonly states: readonly string[] }): ReactNode {
  return [...new Set(states)].map((state) => (
    <span key={state} className={`badge ${LEVELS[state] ?? ''}`}>
      {state}
    </span>
  ))
}

function Warnings({ of: { warnings } }: { readonly of: Catalogue }): ReactNode {
  if (warnings.length === 0) return null
  return (
    <section className="card stack" aria-labelledby="warnings">
      <h2 id="warnings">Warnings</h2>
      <ul>
        {warnings.slice(0, WARNINGS_SHOWN).map(({ message }) => (
          <li key={message}>{plain(message, 300)}</li>
        ))}
      </ul>
      {warnings.length > WARNINGS_SHOWN && <p className="muted">and {count(warnings.length - WARNINGS_SHOWN)} more</p>}
    </section>
  )
}
