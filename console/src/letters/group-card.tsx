/** Dead letters with one fingerprint: what failed where, how often, since when, and actions on all of them. */
import { type ReactNode, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import type { DeadLetter } from '../api/types.ts'
import { useAsked } from '../parts/async.ts'
import { Confirm } from '../parts/dialog.tsx'
import { ago, brief, exact, plain } from '../parts/format.ts'
import { Problem, Waiting } from '../parts/notice.tsx'
import { go, To } from '../shell/route.tsx'

export interface Group {
  readonly fingerprint: string
  readonly name: string
  readonly code: string | null
  readonly kind: string
  readonly frame: string | null
  readonly message: string
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  readonly types: readonly string[]
  readonly sample: { readonly channel: string; readonly offset: number }
}

const LISTED = 20

export function GroupCard({
  consumer,
  group,
  changed,
}: {
  readonly consumer: string
  readonly group: Group
  readonly changed: () => void
}): ReactNode {
  const [open, setOpen] = useState(false)
  const [redriving, setRedriving] = useState(false)
  return (
    <article className="card stack group">
      <div className="row wrap">
        <span className="badge bad">{exact(group.count)}</span>
        <h3>
          <bdi>
            {plain(group.name, 80)}
            {group.code !== null && ` ${plain(group.code, 60)}`}
          </bdi>
        </h3>
        <span className="muted">
          {group.frame === null ? (
            `no frame of the application is known (${group.kind})`
          ) : (
            <bdi className="mono">{plain(group.frame, 160)}</bdi>
          )}
        </span>
        <span className="muted end nowrap">
          first {ago(group.firstMs)}, last {ago(group.lastMs)}
        </span>
      </div>
      <p>
        <bdi>{plain(group.message, 400)}</bdi>
      </p>
      <div className="row wrap">
        <span className="muted">
          <bdi>{plain(group.types.join(', '), 200)}</bdi>
        </span>
        <span className="row end wrap">
          <button type="button" aria-expanded={open} onClick={() => setOpen(!open)}>
            {open ? 'Hide' : 'Look at them'}
          </button>
          <button type="button" className="primary" onClick={() => setRedriving(true)}>
            Redrive …
          </button>
        </span>
      </div>
      {open && <Letters consumer={consumer} group={group} />}
      {redriving && (
        <RedriveDialog consumer={consumer} group={group} close={() => setRedriving(false)} done={changed} />
      )}
    </article>
  )
}

function Letters({ consumer, group }: { readonly consumer: string; readonly group: Group }): ReactNode {
  const path = `api/consumers/${encodeURIComponent(consumer)}/dead-letters`
  const { value, problem, again } = useAsked(
    (signal) => api<{ readonly deadLetters: readonly DeadLetter[] }>({ path, query: { limit: 200 } }, signal),
    [path, group.fingerprint],
  )
  if (problem !== null) return <Problem of={problem} again={again} />
  if (value === undefined) return <Waiting what="dead letters" />
  const its = value.deadLetters.filter(
    ({ failure }) => failure.name === group.name && failure.message.slice(0, 500) === group.message,
  )
  return (
    <>
      <ul className="letters">
        {its.slice(0, LISTED).map(({ channel, offset, type, key, attempts, deadAtMs, waiting, event }) => (
          <li key={`${channel}/${offset}`}>
            <To to={{ view: 'letters', consumer, channel, offset }}>
              <bdi>
                {plain(channel, 60)} {offset}
              </bdi>
            </To>
            <bdi>{plain(type, 60)}</bdi>
            <bdi className="muted">{key === null ? '' : plain(key, 40)}</bdi>
            <span className="muted nowrap">
              {attempts} attempts, {ago(deadAtMs)}
              {waiting > 0 && `, ${waiting} wait behind it`}
            </span>
            <bdi className="mono muted letter-data">{brief(event.data, 100)}</bdi>
          </li>
        ))}
      </ul>
      {group.count > Math.min(its.length, LISTED) && (
        <p className="muted">
          {exact(Math.min(its.length, LISTED))} of {exact(group.count)} are shown, the oldest first.
        </p>
      )}
    </>
  )
}

function RedriveDialog({
  consumer,
  group,
  close,
  done,
}: {
  readonly consumer: string
  readonly group: Group
  readonly close: () => void
  readonly done: () => void
}): ReactNode {
  const [canary, setCanary] = useState(true)
  const [perSecond, setPerSecond] = useState(50)
  const call = (reason: string): Call => ({
    method: 'POST',
    path: `api/consumers/${encodeURIComponent(consumer)}/redrives`,
    body: { fingerprint: group.fingerprint, canary, perSecond, reason },
  })
  return (
    <Confirm
      title={`Redrive ${exact(group.count)} dead letters of ${plain(consumer, 60)}`}
      verb="Redrive"
      close={close}
      call={call}
      act={async (reason) => {
        await api(call(reason))
        done()
        // The consumer's page shows progress and result, also after the last dead letter.
        go({ view: 'letters', consumer })
      }}
    >
      <p>They are given back to this consumer alone, the oldest first. It goes on when you leave this page.</p>
      <label className="row">
        <input type="checkbox" checked={canary} onChange={(event) => setCanary(event.target.checked)} />
        Carefully: 1, then 10, then the rest; stop when the error comes back
      </label>
      <label className="row">
        <input
          type="number"
          min={1}
          max={1000}
          value={perSecond}
          onChange={(event) => setPerSecond(Math.max(1, Math.min(1000, Number(event.target.value) || 1)))}
        />
        a second
      </label>
    </Confirm>
  )
}
