/**
 * One rule: edit it as JSON, with errors shown while you type; try it on stored events; switch it on or off; see who
 * changed it.
 */
import { type ReactNode, useId, useState } from 'react'
import { api } from '../api/client.ts'
import type { RuleDescription } from '../api/types.ts'
import { Act } from '../parts/act.tsx'
import { type Asked, useAsked } from '../parts/async.ts'
import { ago, plain } from '../parts/format.ts'
import { Problem, Waiting } from '../parts/notice.tsx'
import { go, To, useQuery } from '../shell/route.tsx'
import { ChangeRule, type RuleChange } from './change-rule.tsx'
import { DryRun } from './dry-run.tsx'
import { type RuleText, ruleIn, useValidity } from './rule-text.ts'
import { WhyRule } from './why-rule.tsx'

interface Shown {
  readonly rule: RuleDescription
  readonly history: readonly {
    readonly offset: number
    readonly time: string
    readonly type: string
    readonly author: string
    readonly reason: string | null
  }[]
}

const NEW = {
  on: 'orders',
  when: { data: { total: [{ numeric: ['>', 100] }] } },
  then: { emit: { channel: 'alerts', type: 'order.large', data: { order: '{{ subject }}' } } },
}

export default function RuleView(): ReactNode {
  const name = useQuery().get('name')
  const { value, problem, again } = useAsked(
    (signal) =>
      name === '' ? Promise.resolve(null) : api<Shown>({ path: `api/rules/${encodeURIComponent(name)}` }, signal),
    [name],
  )
  if (problem !== null) return <Problem of={problem} again={again} />
  if (value === undefined) return <Waiting what="the rule" />
  return <Editor key={value?.rule.revision ?? 0} shown={value} again={again} />
}

function Editor({ shown, again }: { readonly shown: Shown | null; readonly again: () => void }): ReactNode {
  const { name: known, ...definition } = shown?.rule.definition ?? { name: '', ...NEW }
  const [name, setName] = useState(known)
  const [text, setText] = useState(() => JSON.stringify(definition, null, 2))
  const [asking, setAsking] = useState<RuleChange | null>(null)
  const rule = ruleIn(text, name)
  const channel = [definition.on].flat()[0] ?? ''
  const checked = useValidity(rule)
  const isValid = rule !== null && name !== '' && checked.problem === null
  const done = (removed: boolean): void => {
    if (removed) go({ view: 'rules' })
    else if (shown === null) go({ view: 'rule', name })
    else again()
  }
  return (
    <div className="page">
      <Head shown={shown} channel={channel} isValid={isValid} ask={setAsking} />
      {shown?.rule.problem != null && <p className="notice bad">{plain(shown.rule.problem, 400)}</p>}
      <div className="columns">
        <section className="card stack" aria-label="Definition">
          {shown === null && <NameField name={name} set={setName} />}
          <TextField text={text} set={setText} />
          <Validity rule={rule} checked={checked} />
        </section>
        <div className="stack">
          {shown !== null && <WhyRule rule={known} on={channel} />}
          <DryRun rule={checked.problem === null ? rule : null} />
          {shown !== null && <Workers rule={known} then={shown.rule.definition.then} />}
          {shown !== null && <History shown={shown} />}
        </div>
      </div>
      {asking !== null && <ChangeRule {...{ verb: asking, name, rule, done }} close={() => setAsking(null)} />}
    </div>
  )
}

function Head({
  shown,
  channel,
  isValid,
  ask,
}: {
  readonly shown: Shown | null
  readonly channel: string
  readonly isValid: boolean
  readonly ask: (verb: RuleChange) => void
}): ReactNode {
  const may = { action: 'rules', of: { channel } } as const
  const save = (
    <Act {...may} className="primary" disabled={!isValid} onClick={() => ask('save')}>
      Save …
    </Act>
  )
  if (shown === null)
    return (
      <div className="page-head">
        <h1>New rule</h1>
        <span className="row wrap end">{save}</span>
      </div>
    )
  const { name, enabled, author, changedAt, revision } = shown.rule
  return (
    <div className="page-head">
      <h1>
        <bdi>{plain(name, 120)}</bdi>
      </h1>
      <span className={`badge ${enabled ? 'good' : 'warn'}`}>{enabled ? 'enabled' : 'disabled'}</span>
      <span className="muted">
        revision {revision}, by <bdi>{plain(author, 60)}</bdi>, {ago(Date.parse(changedAt))}
      </span>
      <span className="row wrap end">
        <Act {...may} onClick={() => ask(enabled ? 'disable' : 'enable')}>
          {enabled ? 'Disable …' : 'Enable …'}
        </Act>
        <Act {...may} className="danger" onClick={() => ask('remove')}>
          Remove …
        </Act>
        {save}
      </span>
    </div>
  )
}

function NameField({ name, set }: { readonly name: string; readonly set: (name: string) => void }): ReactNode {
  const field = useId()
  return (
    <div className="field">
      <label htmlFor={field}>Name</label>
      <input id={field} value={name} onChange={({ target }) => set(target.value)} placeholder="large-orders" />
    </div>
  )
}

function TextField({ text, set }: { readonly text: string; readonly set: (text: string) => void }): ReactNode {
  const field = useId()
  return (
    <div className="field">
      <label htmlFor={field}>Rule, as JSON: on, when, then</label>
      <textarea id={field} rows={16} spellCheck={false} value={text} onChange={({ target }) => set(target.value)} />
    </div>
  )
}

/** The actions that have a consumer of their own: their dead letters are redriven there. */
function Workers({ rule, then }: { readonly rule: string; readonly then: unknown }): ReactNode {
  const counts = new Map<string, number>()
  const ids = [then].flat().flatMap((action) => {
    const kind = typeof action === 'string' ? action : Object.keys((action ?? {}) as object)[0]
    if (kind === undefined || kind === 'drop') return []
    const at = (counts.get(kind) ?? 0) + 1
    counts.set(kind, at)
    return [at === 1 ? kind : `${kind}-${at}`]
  })
  if (ids.length === 0) return null
  return (
    <section className="card stack" aria-labelledby="workers">
      <h2 id="workers">Its actions</h2>
      {ids.map((id) => (
        <div key={id} className="row wrap">
          <To to={{ view: 'consumer', name: `rule.${rule}.${id}` }}>{plain(id, 40)}</To>
          <To to={{ view: 'letters', consumer: `rule.${rule}.${id}` }}>Dead letters</To>
        </div>
      ))}
      <p className="muted">An action has a consumer once it has a queue: http and call, or a failed emit or forward.</p>
    </section>
  )
}

function Validity({ rule, checked }: { readonly rule: RuleText | null; readonly checked: Asked<boolean> }): ReactNode {
  if (rule === null) return <p className="bad">This is not a JSON object.</p>
  if (checked.problem !== null) return <Problem of={checked.problem} />
  return <p className="good">{checked.value === true ? 'The rule is valid.' : '…'}</p>
}

function History({ shown }: { readonly shown: Shown }): ReactNode {
  return (
    <section className="card stack" aria-labelledby="history">
      <h2 id="history">History</h2>
      <ol className="history">
        {[...shown.history].reverse().map(({ offset, time, type, author, reason }) => (
          <li key={offset}>
            <b>{plain(type, 60)}</b> by <bdi>{plain(author, 60)}</bdi>, {ago(Date.parse(time))}
            {reason !== null && <div className="muted">{plain(reason, 300)}</div>}
          </li>
        ))}
      </ol>
    </section>
  )
}
