/**
 * One event: its attributes and data, which consumers have handled it as far as that is known, and its causes and
 * effects.
 */
import type { ReactNode } from 'react'
import { api, traceUrlOf } from '../api/client.ts'
import type { CloudEvent, Page } from '../api/types.ts'
import { useAsked } from '../parts/async.ts'
import { Copy, CopyAs, shellWord } from '../parts/commands.tsx'
import { clock, plain } from '../parts/format.ts'
import { JsonView } from '../parts/json-view.tsx'
import { Empty, Problem, Waiting } from '../parts/notice.tsx'
import { To, useQuery } from '../shell/route.tsx'
import { CausalTree } from './causal-tree.tsx'
import { Handled } from './handled.tsx'

export default function EventView(): ReactNode {
  const query = useQuery()
  const channel = query.get('name')
  const offset = Number(query.get('offset'))
  const call = { path: `channels/${encodeURIComponent(channel)}/events`, query: { from: offset, to: offset + 1 } }
  const { value, problem, again } = useAsked((signal) => api<Page>(call, signal), [channel, offset])
  if (problem !== null) return <Problem of={problem} again={again} />
  if (value === undefined) return <Waiting what="the event" />
  const [found] = value.events
  if (found === undefined)
    return (
      <Empty title={`Channel ${plain(channel, 80)} keeps no event at offset ${offset}`}>
        <p>Retention has deleted it, or it was never there.</p>
        <To to={{ view: 'channel', name: channel }}>Look at the channel</To>
      </Empty>
    )
  const { event } = found
  const trace = traceUrlOf(event['traceparent'])
  const command = `millrace tail ${shellWord(channel)} --from ${offset} --to ${offset + 1}`
  return (
    <div className="page">
      <div className="page-head">
        <h1>
          <To to={{ view: 'type', name: event.type }}>
            <bdi>{plain(event.type, 120)}</bdi>
          </To>
        </h1>
        <span className="muted">
          <To to={{ view: 'channel', name: channel, offset }}>
            <bdi>{plain(channel, 80)}</bdi>
          </To>{' '}
          at offset {offset}
        </span>
        <span className="row end wrap">
          {trace !== null && (
            <a className="button" href={trace} target="_blank" rel="noreferrer">
              Trace
            </a>
          )}
          <CopyAs command={command} call={call} />
          <Copy text={JSON.stringify(event, null, 2)} label="Copy event" />
          <To to={{ view: 'publish', name: channel, offset }} className="button">
            Publish one like it
          </To>
        </span>
      </div>
      <div className="columns">
        <div className="stack">
          <section className="card stack" aria-labelledby="data">
            <h2 id="data">Data</h2>
            <Data event={event} />
          </section>
          <CausalTree channel={channel} offset={offset} event={event} />
        </div>
        <div className="stack">
          <Envelope event={event} />
          <Handled channel={channel} offset={offset} />
        </div>
      </div>
    </div>
  )
}

function Data({ event }: { readonly event: CloudEvent }): ReactNode {
  if (event.data_base64 !== undefined) return <pre>{plain(event.data_base64, 2000)}</pre>
  if (event.data === undefined) return <p className="muted">The event has no data.</p>
  return <JsonView value={event.data} open={3} />
}

function Envelope({ event }: { readonly event: CloudEvent }): ReactNode {
  const { data: _, data_base64: __, ...attributes } = event
  return (
    <section className="card stack" aria-labelledby="envelope">
      <h2 id="envelope">Envelope</h2>
      <dl className="envelope">
        {Object.entries(attributes).map(([name, value]) => (
          <div key={name}>
            <dt>{plain(name, 100)}</dt>
            <dd>
              <bdi className="mono">{plain(String(value), 500)}</bdi>
              {name === 'time' && <span className="muted"> ({clock(String(value))})</span>}
            </dd>
          </div>
        ))}
      </dl>
    </section>
  )
}
