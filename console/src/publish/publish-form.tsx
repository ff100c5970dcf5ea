/** The form of a new event: its type, its key and its data, as fields and as JSON. */
import { type ReactNode, useId, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import type { CloudEvent } from '../api/types.ts'
import { Act } from '../parts/act.tsx'
import { useAction } from '../parts/async.ts'
import { CopyAs, shellWord } from '../parts/commands.tsx'
import { plain } from '../parts/format.ts'
import { Problem } from '../parts/notice.tsx'
import { To } from '../shell/route.tsx'
import { exampleOf, problemsOf, type Schema, type SchemaProblem, schemaOf } from './schema.ts'
import { SchemaForm } from './schema-form.tsx'

export interface ChannelFacts {
  readonly channel: string
  readonly types: readonly string[] | null
  readonly schemas: Readonly<Record<string, Schema>>
  readonly next: number
  readonly first: number
}

export interface Known {
  readonly facts: ChannelFacts
  /** The newest event of each type, among the newest events of the channel. */
  readonly examples: readonly CloudEvent[]
}

interface Draft {
  readonly type: string
  readonly key: string
  readonly data: unknown
  /** What is typed as JSON, as long as it is not taken from the fields. */
  readonly text: string | null
}

interface Receipt {
  readonly offset: number | null
  readonly id: string
}

export function PublishForm({ known }: { readonly known: Known }): ReactNode {
  const { facts, examples } = known
  const types = typesOf(known)
  const [draft, setDraft] = useState<Draft>(() => {
    const type = examples[0]?.type ?? types[0] ?? ''
    return { type, key: examples[0]?.partitionkey ?? '', data: beginning(type, known), text: null }
  })
  const set = (changes: Partial<Draft>): void => setDraft((before) => ({ ...before, ...changes }))
  const typed = draft.text === null ? { value: draft.data } : parsed(draft.text)
  const declared = facts.schemas[draft.type]
  const schema = declared ?? schemaOf(draft.data)
  const problems = declared === undefined || typed === null ? [] : problemsOf(declared, typed.value, declared)
  return (
    <div className="columns">
      <section className="card stack" aria-label="Event">
        <Attributes types={types} draft={draft} set={set} beginning={(type) => beginning(type, known)} />
        <SchemaForm
          schema={schema}
          value={typed?.value}
          problems={problems}
          change={(data) => set({ data, text: null })}
        />
        <p className="muted">
          {declared === undefined
            ? 'The form is made from an event that is stored: no schema is known for this type.'
            : 'The form is made from the schema of the type.'}
        </p>
      </section>
      <section className="card stack" aria-label="JSON">
        <JsonText draft={draft} set={set} isJson={typed !== null} />
        <Problems problems={problems} />
        <Publish channel={facts.channel} draft={draft} data={typed} />
      </section>
    </div>
  )
}

function typesOf({ facts, examples }: Known): readonly string[] {
  const named = [...(facts.types ?? []), ...Object.keys(facts.schemas), ...examples.map(({ type }) => type)]
  return [...new Set(named)]
}

function Attributes({
  types,
  draft,
  set,
  beginning: begin,
}: {
  readonly types: readonly string[]
  readonly draft: Draft
  readonly set: (changes: Partial<Draft>) => void
  readonly beginning: (type: string) => unknown
}): ReactNode {
  const field = useId()
  return (
    <>
      <div className="field">
        <label htmlFor={`${field}type`}>Type</label>
        <input
          id={`${field}type`}
          list={`${field}types`}
          value={draft.type}
          onChange={({ target: { value } }) => set({ type: value, data: begin(value), text: null })}
        />
        <datalist id={`${field}types`}>
          {types.map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      </div>
      <div className="field">
        <label htmlFor={`${field}key`}>Key (partitionkey), if any</label>
        <input id={`${field}key`} value={draft.key} onChange={({ target }) => set({ key: target.value })} />
      </div>
    </>
  )
}

function JsonText({
  draft,
  set,
  isJson,
}: {
  readonly draft: Draft
  readonly set: (changes: Partial<Draft>) => void
  readonly isJson: boolean
}): ReactNode {
  const field = useId()
  return (
    <>
      <div className="field">
        <label htmlFor={field}>Data, as JSON</label>
        <textarea
          id={field}
          rows={14}
          spellCheck={false}
          value={draft.text ?? JSON.stringify(draft.data, null, 2) ?? ''}
          onChange={({ target: { value } }) => {
            const next = parsed(value)
            set({ text: value, ...(next !== null && { data: next.value }) })
          }}
        />
      </div>
      {!isJson && <p className="bad">This is not JSON.</p>}
    </>
  )
}

function Problems({ problems }: { readonly problems: readonly SchemaProblem[] }): ReactNode {
  if (problems.length === 0) return null
  return (
    <div className="notice warn" role="status">
      <p>The schema does not allow this data:</p>
      <ul>
        {problems.slice(0, 10).map(({ path, text }) => (
          <li key={path + text}>
            <code>{plain(path === '' ? '/' : path, 100)}</code> {plain(text, 200)}
          </li>
        ))}
      </ul>
    </div>
  )
}

function Publish({
  channel,
  draft: { type, key },
  data,
}: {
  readonly channel: string
  readonly draft: Draft
  readonly data: { readonly value: unknown } | null
}): ReactNode {
  const { busy, problem, run } = useAction()
  const [receipt, setReceipt] = useState<Receipt | null>(null)
  const event = {
    specversion: '1.0',
    type,
    source: '/console',
    data: data?.value,
    ...(key !== '' && { partitionkey: key }),
  }
  const call: Call = {
    method: 'POST',
    path: `channels/${encodeURIComponent(channel)}/events`,
    type: 'application/cloudevents+json',
    body: event,
  }
  const publish = (): void =>
    run(async () => {
      const sent: Call = { ...call, body: { ...event, id: crypto.randomUUID() } }
      const { receipts } = await api<{ readonly receipts: readonly Receipt[] }>(sent)
      setReceipt(receipts[0] ?? null)
    })
  return (
    <>
      {problem !== null && <Problem of={problem} />}
      {receipt !== null && problem === null && (
        <p className="good" role="status">
          Stored{' '}
          {receipt.offset !== null && (
            <To to={{ view: 'event', name: channel, offset: receipt.offset }}>at offset {receipt.offset}</To>
          )}{' '}
          with the id {plain(receipt.id, 80)}.
        </p>
      )}
      <div className="row wrap">
        <CopyAs command={commandOf(channel, type, data?.value)} call={call} />
        <Act
          action="publish"
          of={{ channel }}
          className="primary end"
          disabled={busy || data === null || type === ''}
          onClick={publish}
        >
          {busy ? 'Publishing …' : 'Publish'}
        </Act>
      </div>
    </>
  )
}

function commandOf(channel: string, type: string, data: unknown): string {
  const payload = shellWord(JSON.stringify(data ?? null))
  return `millrace publish ${shellWord(channel)} --type ${shellWord(type)} --payload ${payload}`
}

/** The data to begin with: that of a stored event of the type, or what its schema asks for. */
function beginning(type: string, { facts: { schemas }, examples }: Known): unknown {
  const example = examples.find((one) => one.type === type)
  if (example !== undefined) return example.data
  const schema = schemas[type]
  return schema === undefined ? {} : exampleOf(schema, schema)
}

function parsed(text: string): { readonly value: unknown } | null {
  try {
    return { value: JSON.parse(text) as unknown }
  } catch {
    return null
  }
}
