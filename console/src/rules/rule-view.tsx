/**
 * One rule: edit it as JSON, with errors shown while you type; try it on stored events; switch it on or off; see who
 * changed it.
 */
import { type ReactNode, useId, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import type { RuleDescription } from '../api/types.ts'
import { Act } from '../parts/act.tsx'
import { type Asked, useAsked, useSettled } from '../parts/async.ts'
import { shellWord } from '../parts/commands.tsx'
import { Confirm } from '../parts/dialog.tsx'
import { ago, plain } from '../parts/format.ts'
import { Problem, Waiting } from '../parts/notice.tsx'
import { go, useQuery } from '../shell/route.tsx'
import { DryRun } from './dry-run.tsx'

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
  const [asking, setAsking] = useState<'save' | 'enable' | 'disable' | 'remove' | null>(null)
  const field = useId()
  const rule = ruleIn(text, name)
  const of = { channel: [definition.on].flat()[0] ?? '' }
  const checked = useValidity(rule)
  return (
    <div className="page">
      <div className="page-head">
        <h1>{shown === null ? 'New rule' : <bdi>{plain(known, 120)}</bdi>}</h1>
        {shown !== null && (
          <span className={`badge ${shown.rule.enabled ? 'good' : 'warn'}`}>
            {shown.rule.enabled ? 'enabled' : 'disabled'}
          </span>
        )}
        <span className="row wrap end">
          {shown !== null && (
            <>
              <Act action="rules" of={of} onClick={() => setAsking(shown.rule.enabled ? 'disable' : 'enable')}>
                {shown.rule.enabled ? 'Disable …' : 'Enable …'}
              </Act>
              <Act action="rules" of={of} className="danger" onClick={() => setAsking('remove')}>
                Remove …
              </Act>
            </>
          )}
          <Act
            action="rules"
            of={of}
            className="primary"
            disabled={rule === null || name === '' || checked.problem !== null}
            onClick={() => setAsking('save')}
          >
            Save …
          </Act>
        </span>
      </div>
      {shown?.rule.problem != null && <p className="notice bad">{plain(shown.rule.problem, 400)}</p>}
      <div className="columns">
        <section className="card stack" aria-label="Definition">
          {shown === null && (
            <div className="field">
              <label htmlFor={`${field}name`}>Name</label>
              <input
                id={`${field}name`}
                value={name}
                onChange={({ target }) => setName(target.value)}
                placeholder="large-orders"
              />
            </div>
          )}
          <div className="field">
            <label htmlFor={`${field}text`}>Rule, as JSON: on, when, then</label>
            <textarea
              id={`${field}text`}
              rows={16}
              spellCheck={false}
              value={text}
              onChange={({ target }) => setText(target.value)}
            />
          </div>
          <Validity rule={rule} checked={checked} />
        </section>
        <div className="stack">
          <DryRun rule={checked.problem === null ? rule : null} />
          {shown !== null && <History shown={shown} />}
        </div>
      </div>
      {asking !== null && (
        <Change
          verb={asking}
          name={name}
          rule={rule}
          close={() => setAsking(null)}
          done={(removed) => (removed ? go({ view: 'rules' }) : shown === null ? go({ view: 'rule', name }) : again())}
        />
      )}
    </div>
  )
}

export type RuleText = Readonly<Record<string, unknown>>

function ruleIn(text: string, name: string): RuleText | null {
  try {
    const value = JSON.parse(text) as unknown
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? { ...value, name: name === '' ? 'new-rule' : name }
      : null
  } catch {
    return null
  }
}

/** Whether the gateway accepts the rule, by the same checks as when it is saved. Nothing is saved. */
function useValidity(rule: RuleText | null): Asked<boolean> {
  const settled = useSettled(JSON.stringify(rule), 250)
  return useAsked(
    async (signal) => {
      if (settled === 'null') return false
      const event = { specversion: '1.0', id: 'example', source: '/console', type: 'example' }
      await api(
        { method: 'POST', path: 'api/rule-tests', body: { rule: JSON.parse(settled) as unknown, event } },
        signal,
      )
      return true
    },
    [settled],
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

const WORDS = {
  save: ['Save', 'It applies to events from now on, in all processes.'],
  enable: ['Enable', 'It matches events again, and events that wait in its queues are handled.'],
  disable: ['Disable', 'It matches no more events; events in its queues wait.'],
  remove: ['Remove', 'The rule and the events that wait for its actions are removed. Its history stays.'],
} as const

function Change({
  verb,
  name,
  rule,
  close,
  done,
}: {
  readonly verb: keyof typeof WORDS
  readonly name: string
  readonly rule: RuleText | null
  readonly close: () => void
  readonly done: (removed: boolean) => void
}): ReactNode {
  const path = `api/rules/${encodeURIComponent(name)}`
  const call = (reason: string): Call =>
    verb === 'save'
      ? { method: 'PUT', path, query: { reason }, body: rule }
      : {
          method: verb === 'remove' ? 'DELETE' : 'POST',
          path: verb === 'remove' ? path : `${path}/${verb}`,
          query: { reason },
        }
  const command = (reason: string): string =>
    `millrace rules ${verb} ${shellWord(name)}${reason === '' ? '' : ` --reason ${shellWord(reason)}`}`
  return (
    <Confirm
      title={`${WORDS[verb][0]} ${plain(name, 80)}`}
      verb={WORDS[verb][0]}
      danger={verb === 'remove'}
      close={close}
      call={call}
      {...(verb !== 'save' && { command })}
      act={async (reason) => {
        await api(call(reason))
        done(verb === 'remove')
      }}
    >
      <p>{WORDS[verb][1]}</p>
    </Confirm>
  )
}
