/**
 * Publish an event by hand: a form made from the JSON Schema of its type or from a stored event, with the JSON beside
 * it.
 */
import { type ReactNode, useId, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import type { CloudEvent, Page } from '../api/types.ts'
import { useStructure } from '../live/live-flow.ts'
import { useAction, useAsked } from '../parts/async.ts'
import { CopyAs, shellWord } from '../parts/commands.tsx'
import { plain } from '../parts/format.ts'
import { Problem, Waiting } from '../parts/notice.tsx'
import { To, useQuery } from '../shell/route.tsx'
import { exampleOf, type Schema, SchemaForm, schemaOf } from './schema-form.tsx'

interface ChannelFacts {
  readonly channel: string
  readonly types: readonly string[] | null
  readonly schemas: Readonly<Record<string, Schema>>
  readonly next: number
  readonly first: number
}

interface Known {
  readonly facts: ChannelFacts
  /** The newest event of each type, among the newest events of the channel. */
  readonly examples: readonly CloudEvent[]
}

export default function PublishView(): ReactNode {
  const query = useQuery()
  const structure = useStructure()
  const field = useId()
  const channels =
    structure?.parts
      .filter(({ kind }) => kind === 'channel')
      .map(({ name }) => name)
      .sort() ?? []
  const channel = query.get('name')
  const like = query.get('offset')
  const { value, problem, again } = useAsked(
    (signal) => (channel === '' ? Promise.resolve(null) : knownOf(channel, like, signal)),
    [channel, like],
  )
  return (
    <div className="page">
      <div className="page-head">
        <h1>Publish an event</h1>
      </div>
      <div className="field channel-choice">
        <label htmlFor={field}>Channel</label>
        <select id={field} value={channel} onChange={({ target }) => query.set({ name: target.value, offset: null })}>
          <option value="">Choose one</option>
          {channels.map((name) => (
            <option key={name}>{name}</option>
          ))}
        </select>
      </div>
      {problem !== null && <Problem of={problem} again={again} />}
      {value === undefined && problem === null && <Waiting what="the channel" />}
      {value != null && <Form key={`${channel}/${like}`} known={value} />}
    </div>
  )
}

async function knownOf(channel: string, like: string, signal: AbortSignal): Promise<Known> {
  const name = encodeURIComponent(channel)
  const facts = await api<ChannelFacts>({ path: `api/channels/${name}` }, signal)
  const from = like === '' ? Math.max(facts.first, facts.next - 50) : Number(like)
  const query = { from, to: like === '' ? facts.next : from + 1 }
  const { events } =
    facts.next > facts.first ? await api<Page>({ path: `channels/${name}/events`, query }, signal) : { events: [] }
  const byType = new Map(events.map(({ event }) => [event.type, event]))
  return { facts, examples: [...byType.values()].reverse() }
}

function Form({ known: { facts, examples } }: { readonly known: Known }): ReactNode {
  const types = [
    ...new Set([...(facts.types ?? []), ...Object.keys(facts.schemas), ...examples.map(({ type }) => type)]),
  ]
  const [type, setType] = useState(examples[0]?.type ?? types[0] ?? '')
  const [key, setKey] = useState(examples[0]?.partitionkey ?? '')
  const [data, setData] = useState<unknown>(() => beginning(type, facts, examples))
  const [text, setText] = useState<string | null>(null)
  const { busy, problem, run } = useAction()
  const [receipt, setReceipt] = useState<{ readonly offset: number | null; readonly id: string } | null>(null)
  const field = useId()
  const choose = (next: string): void => {
    setType(next)
    setData(beginning(next, facts, examples))
    setText(null)
  }
  const schema = facts.schemas[type] ?? schemaOf(data)
  const typed = text === null ? { value: data } : parsed(text)
  const event = {
    specversion: '1.0',
    type,
    source: '/console',
    data: typed?.value,
    ...(key !== '' && { partitionkey: key }),
  }
  const call: Call = {
    method: 'POST',
    path: `channels/${encodeURIComponent(facts.channel)}/events`,
    type: 'application/cloudevents+json',
    body: event,
  }
  const command = `millrace publish ${shellWord(facts.channel)} --type ${shellWord(type)} --payload ${shellWord(JSON.stringify(typed?.value ?? null))}`
  const publish = (): void =>
    run(async () => {
      const sent: Call = { ...call, body: { ...event, id: crypto.randomUUID() } }
      const { receipts } = await api<{
        readonly receipts: readonly { readonly offset: number | null; readonly id: string }[]
      }>(sent)
      setReceipt(receipts[0] ?? null)
    })
  return (
    <div className="columns">
      <section className="card stack" aria-label="Event">
        <div className="field">
          <label htmlFor={`${field}type`}>Type</label>
          <input
            id={`${field}type`}
            list={`${field}types`}
            value={type}
            onChange={({ target }) => choose(target.value)}
          />
          <datalist id={`${field}types`}>
            {types.map((one) => (
              <option key={one} value={one} />
            ))}
          </datalist>
        </div>
        <div className="field">
          <label htmlFor={`${field}key`}>Key (partitionkey), if any</label>
          <input id={`${field}key`} value={key} onChange={({ target }) => setKey(target.value)} />
        </div>
        <SchemaForm
          schema={schema}
          value={typed?.value}
          change={(next) => {
            setData(next)
            setText(null)
          }}
        />
        <p className="muted">
          {facts.schemas[type] === undefined
            ? 'The form is made from an event that is stored: no schema is known for this type.'
            : 'The form is made from the schema of the type.'}
        </p>
      </section>
      <section className="card stack" aria-label="JSON">
        <div className="field">
          <label htmlFor={`${field}json`}>Data, as JSON</label>
          <textarea
            id={`${field}json`}
            rows={14}
            spellCheck={false}
            value={text ?? JSON.stringify(data, null, 2) ?? ''}
            onChange={({ target }) => setText(target.value)}
          />
        </div>
        {typed === null && <p className="bad">This is not JSON.</p>}
        {problem !== null && <Problem of={problem} />}
        {receipt !== null && problem === null && (
          <p className="good" role="status">
            Stored{' '}
            {receipt.offset !== null && (
              <To to={{ view: 'event', name: facts.channel, offset: receipt.offset }}>at offset {receipt.offset}</To>
            )}{' '}
            with the id {plain(receipt.id, 80)}.
          </p>
        )}
        <div className="row wrap">
          <CopyAs command={command} call={call} />
          <button
            type="button"
            className="primary end"
            disabled={busy || typed === null || type === ''}
            onClick={publish}
          >
            {busy ? 'Publishing …' : 'Publish'}
          </button>
        </div>
      </section>
    </div>
  )
}

function beginning(type: string, { schemas }: ChannelFacts, examples: readonly CloudEvent[]): unknown {
  const example = examples.find((one) => one.type === type)
  if (example !== undefined) return example.data
  const schema = schemas[type]
  return schema === undefined ? {} : exampleOf(schema)
}

function parsed(text: string): { readonly value: unknown } | null {
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return null
  }
}
