/** One event type: its schemas, who publishes and who reads it, and the newest event of each channel as an example. */
import type { ReactNode } from 'react'
import { api } from '../api/client.ts'
import { useAsked } from '../parts/async.ts'
import { Copy, CopyAs } from '../parts/commands.tsx'
import { ago, plain } from '../parts/format.ts'
import { JsonView } from '../parts/json-view.tsx'
import { Empty, Problem, Waiting } from '../parts/notice.tsx'
import { type Place, To, useQuery } from '../shell/route.tsx'
import { SchemaBadges } from './catalogue-view.tsx'
import type { Catalogue, EventEntry, EventSchema, Example, Producer, Reader } from './types.ts'

export default function TypeView(): ReactNode {
  const type = useQuery().get('name')
  const { value, problem, again } = useAsked(
    (signal) => api<Catalogue>({ path: 'catalogue', query: { type } }, signal),
    [type],
    5000,
  )
  if (problem !== null) return <Problem of={problem} again={again} />
  if (value === undefined) return <Waiting what="the event type" />
  const [event] = value.events
  if (event === undefined)
    return (
      <Empty title={`There is no event type ${plain(type, 80)} that you may see`}>
        <To to={{ view: 'catalogue' }}>Look at the catalogue</To>
      </Empty>
    )
  return (
    <div className="page">
      <div className="page-head">
        <h1>
          <bdi>{plain(type, 120)}</bdi>
        </h1>
        <span className="row wrap">
          {event.channels.map((name) => (
            <To key={name} to={{ view: 'channel', name }} className="badge">
              <bdi>{plain(name, 60)}</bdi>
            </To>
          ))}
        </span>
        <span className="row end wrap">
          <CopyAs call={{ path: 'catalogue', query: { type } }} />
          <To to={{ view: 'publish', name: event.channels[0] }} className="button">
            Publish
          </To>
        </span>
      </div>
      {value.warnings.map(({ message }) => (
        <p key={message} className="notice warn">
          {plain(message, 300)}
        </p>
      ))}
      <div className="columns">
        <div className="stack">
          {event.schemas.map((schema) => (
            <Schema key={keyOf(schema)} schema={schema} several={event.schemas.length > 1} />
          ))}
          {event.examples.map((example) => (
            <Shown key={example.channel} example={example} />
          ))}
        </div>
        <div className="stack">
          <PublishedBy producers={event.producers} />
          <ReadBy event={event} />
        </div>
      </div>
    </div>
  )
}

function Schema({ schema, several }: { readonly schema: EventSchema; readonly several: boolean }): ReactNode {
  const id = `schema-${keyOf(schema)}`
  return (
    <section className="card stack" aria-labelledby={id}>
      <div className="row wrap">
        <h2 id={id}>{titleOf(schema, several)}</h2>
        <SchemaBadges states={[schema.state]} />
        {schema.path !== null && (
          <span className="row end wrap">
            <CopyAs call={{ path: schema.path.slice(1) }} />
            <Copy text={JSON.stringify(schema.schema, null, 2)} label="Copy schema" />
          </span>
        )}
      </div>
      {schema.path === null ? (
        <p className="muted">{WHY_NONE[schema.state]}</p>
      ) : (
        <>
          <JsonView value={schema.schema} open={3} />
          <p className="muted">
            For <code>dataschema</code>: <bdi className="mono">{plain(schema.path, 300)}</bdi>
          </p>
        </>
      )}
    </section>
  )
}

function keyOf({ version, fingerprint, state }: EventSchema): string {
  return `${version}-${fingerprint ?? state.replace(' ', '-')}`
}

function titleOf({ version, earlier, channels }: EventSchema, several: boolean): string {
  const of = earlier || version > 1 ? ` of version ${version}` : ''
  return several ? `Schema${of} in ${plain(channels.join(', '), 120)}` : `Schema${of}`
}

const WHY_NONE: Readonly<Record<EventSchema['state'], string>> = {
  known: '',
  none: 'The channel declares no schema for this type.',
  opaque: 'The schema library of the application gives no JSON Schema for the input side.',
  'too large': 'The schema does not fit into the declaration of the channel.',
}

/** A producer or a reader of a type, and the channel in which it is one. */
interface User {
  readonly kind: string
  readonly name: string
  readonly channel: string
  readonly notes?: readonly string[]
}

function PublishedBy({ producers }: { readonly producers: readonly Producer[] }): ReactNode {
  const users = producers.map(({ kind, name, channel, certain, lastSeen }): User => {
    const seen = lastSeen === null ? [] : [ago(Date.parse(lastSeen))]
    return { kind, name, channel, notes: [...(certain ? [] : ['likely']), ...seen] }
  })
  return (
    <Users
      title="Published by"
      way="to"
      users={users}
      none="No kept event shows it. Sources are learnt from the newest events of each channel."
    />
  )
}

function ReadBy({ event: { consumers, rules } }: { readonly event: EventEntry }): ReactNode {
  const of = (kind: string, readers: readonly Reader[]): User[] => readers.map((reader) => ({ kind, ...reader }))
  return (
    <Users
      title="Read by"
      way="from"
      users={[...of('consumer', consumers), ...of('rule', rules)]}
      none="No consumer takes its channels, and no rule acts on it."
      note="A consumer of the channel may ignore this type. A rule is listed if its condition allows the type."
    />
  )
}

function Users({
  title,
  way,
  users,
  none,
  note,
}: {
  readonly title: string
  readonly way: 'to' | 'from'
  readonly users: readonly User[]
  readonly none: string
  readonly note?: string
}): ReactNode {
  const id = `users-${way}`
  return (
    <section className="card stack" aria-labelledby={id}>
      <h2 id={id}>{title}</h2>
      {users.map(({ kind, name, channel, notes = [] }) => (
        <div key={`${kind}/${name}/${channel}`} className="row wrap">
          <span className="badge">{kind}</span>
          <To to={placeOf(kind, name)}>
            <bdi>{plain(name, 100)}</bdi>
          </To>
          <span className="muted">
            {way} <bdi>{plain(channel, 80)}</bdi>
            {notes.map((text) => `, ${text}`)}
          </span>
        </div>
      ))}
      {users.length === 0 && <p className="muted">{none}</p>}
      {note !== undefined && <p className="muted">{note}</p>}
    </section>
  )
}

function placeOf(kind: string, name: string): Place {
  return kind === 'source' ? { part: `source:${name}`, around: `source:${name}` } : { view: kind, name }
}

function Shown({ example: { channel, offset, event, masked } }: { readonly example: Example }): ReactNode {
  const id = `example-${channel}`
  return (
    <section className="card stack" aria-labelledby={id}>
      <div className="row wrap">
        <h2 id={id}>Example</h2>
        <To to={{ view: 'event', name: channel, offset }}>
          <bdi>
            {plain(channel, 80)}, offset {offset}
          </bdi>
        </To>
        {masked && <span className="badge warn">sensitive fields are masked</span>}
      </div>
      <JsonView value={event} open={2} />
    </section>
  )
}
