/** Dead letters with one fingerprint: what failed where, how often, since when, and actions on all of them. */
import { type ReactNode, useState } from 'react'
import { Act } from '../parts/act.tsx'
import { ago, exact, plain } from '../parts/format.ts'
import { GroupLetters } from './group-letters.tsx'
import type { Group } from './groups.ts'
import { JobDialog } from './job-dialog.tsx'

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
  const [asking, setAsking] = useState<'redrive' | 'drop' | null>(null)
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
          <Act action="manage" of={{ consumer }} className="danger" onClick={() => setAsking('drop')}>
            Drop …
          </Act>
          <Act action="manage" of={{ consumer }} className="primary" onClick={() => setAsking('redrive')}>
            Redrive …
          </Act>
        </span>
      </div>
      {open && <GroupLetters consumer={consumer} group={group} />}
      {asking !== null && (
        <JobDialog
          consumer={consumer}
          action={asking}
          fingerprint={group.fingerprint}
          count={group.count}
          close={() => setAsking(null)}
          done={changed}
        />
      )}
    </article>
  )
}
