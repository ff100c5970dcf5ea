/**
 * One event: its attributes and data, which consumers have handled it as far as that is known, and its causes and
 * effects.
 */
import type { ReactNode } from 'react'
import { api } from '../api/client.ts'
import type { CloudEvent, ConsumerDescription, DeadLetter, Description, Page } from '../api/types.ts'
import { useAsked } from '../parts/async.ts'
import { Copy, CopyAs, shellWord } from '../parts/commands.tsx'
import { clock, plain } from '../parts/format.ts'
import { JsonView } from '../parts/json-view.tsx'
import { Empty, Problem, Waiting } from '../parts/notice.tsx'
import { To, useQuery } from '../shell/route.tsx'
import { CausalTree } from './causal-tree.tsx'

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

interface Fate {
  readonly consumer: string
  readonly words: string
  readonly level: 'good' | 'warn' | 'bad'
  readonly letter: DeadLetter | null
}

/**
 * Computed from positions and dead letters. The broker does not store when a handler succeeded, or after how many
 * attempts; the page says so.
 */
function Handled({ channel, offset }: { readonly channel: string; readonly offset: number }): ReactNode {
  const { value, problem, again } = useAsked((signal) => fatesOf(channel, offset, signal), [channel, offset], 2000)
  return (
    <section className="card stack" aria-labelledby="handled">
      <h2 id="handled">Who handled it</h2>
      {problem !== null && <Problem of={problem} again={again} />}
      {value?.map(({ consumer, words, level, letter }) => (
        <div key={consumer} className="row wrap">
          <To to={{ view: 'consumer', name: consumer }}>
            <bdi>{plain(consumer, 80)}</bdi>
          </To>
          <span className={`badge ${level}`}>{words}</span>
          {letter !== null && (
            <To to={{ view: 'letters', consumer, offset: letter.offset, channel }} className="muted">
              {plain(`${letter.failure.name}: ${letter.failure.message}`, 160)}
            </To>
          )}
        </div>
      ))}
      {value?.length === 0 && <p className="muted">No consumer takes this channel.</p>}
      <p className="muted">
        Taken from positions and dead letters. When a handler finished, and after how many attempts, is not kept.
      </p>
    </section>
  )
}

async function fatesOf(channel: string, offset: number, signal: AbortSignal): Promise<Fate[]> {
  const { consumers } = await api<Description>({ path: 'api/describe' }, signal)
  const takers = consumers.filter(
    ({ name, channels }) => !name.startsWith('rules.') && channels.some((one) => one.channel === channel),
  )
  return Promise.all(takers.map((consumer) => fateOf(consumer, channel, offset, signal)))
}

async function fateOf(
  consumer: ConsumerDescription,
  channel: string,
  offset: number,
  signal: AbortSignal,
): Promise<Fate> {
  const { name, deadLetters } = consumer
  const floor = consumer.channels.find((one) => one.channel === channel)?.floor ?? 0
  if (deadLetters > 0) {
    const path = `api/consumers/${encodeURIComponent(name)}/dead-letters`
    const { deadLetters: found } = await api<{ readonly deadLetters: readonly DeadLetter[] }>(
      { path, query: { channel, offset } },
      signal,
    )
    const [letter] = found
    if (letter !== undefined)
      return { consumer: name, words: `dead after ${letter.attempts} attempts`, level: 'bad', letter }
  }
  if (offset < floor) return { consumer: name, words: 'done', level: 'good', letter: null }
  return { consumer: name, words: 'waiting, in flight or done out of order', level: 'warn', letter: null }
}
