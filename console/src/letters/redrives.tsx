/** Redrives and drops of many dead letters, that run or ran, with their progress and their results. */
import type { ReactNode } from 'react'
import { api, type Call } from '../api/client.ts'
import { Act } from '../parts/act.tsx'
import { useAction } from '../parts/async.ts'
import { CopyAs } from '../parts/commands.tsx'
import { ago, exact, plain } from '../parts/format.ts'
import { Problem } from '../parts/notice.tsx'
import { To } from '../shell/route.tsx'

export interface Redrive {
  readonly id: string
  readonly consumer: string
  readonly action: 'redrive' | 'drop'
  readonly phase: 'waiting' | 'counting' | 'one' | 'ten' | 'all' | 'done' | 'stopped' | 'returned' | 'failed'
  readonly perSecond: number
  readonly by: string
  readonly reason: string | null
  readonly total: number
  readonly redriven: number
  readonly done: number
  readonly back: number
  readonly open: number
  readonly left: number
  readonly gone: number
  readonly returns: readonly {
    readonly channel: string
    readonly offset: number
    readonly name: string
    readonly message: string
  }[]
  readonly problem: string | null
  readonly runs: number
  readonly startedMs: number
  readonly endedMs: number | null
  readonly atMs: number
}

/** A redrive that runs is heard of at least every ten seconds. */
const SILENT_MS = 30_000

export function RedriveRow({
  redrive,
  base,
  again,
}: {
  readonly redrive: Redrive
  readonly base: string
  readonly again: () => void
}): ReactNode {
  const { phase, back, redriven, total, problem, startedMs, endedMs, by, reason, runs } = redrive
  const level = phase === 'done' && back === 0 ? 'good' : phase === 'returned' || phase === 'failed' ? 'bad' : 'warn'
  return (
    <div className="card row wrap redrive" role="status">
      <span className={`badge ${endedMs === null ? 'warn' : level}`}>{wordsOf(redrive)}</span>
      <span>{countsOf(redrive)}</span>
      <progress value={redriven} max={Math.max(1, total)} aria-label="Redriven" />
      <span className="muted end">
        begun {ago(startedMs)} by <bdi>{plain(by, 40)}</bdi>
        {runs > 1 && `, interrupted ${runs === 2 ? 'once' : `${exact(runs - 1)} times`}, and continued`}
      </span>
      {reason !== null && <bdi className="full muted">{plain(reason, 300)}</bdi>}
      {problem !== null && <bdi className="full">{plain(problem, 300)}</bdi>}
      <Returns redrive={redrive} />
      {endedMs === null && <Stop redrive={redrive} base={base} again={again} />}
    </div>
  )
}

function Stop({
  redrive: { id, consumer },
  base,
  again,
}: {
  readonly redrive: Redrive
  readonly base: string
  readonly again: () => void
}): ReactNode {
  const { busy, problem, run } = useAction()
  const call: Call = { method: 'POST', path: `${base}/redrives/${id}/stop` }
  return (
    <>
      {problem !== null && <Problem of={problem} />}
      <CopyAs call={call} />
      <Act action="manage" of={{ consumer }} disabled={busy} onClick={() => run(async () => api(call).then(again))}>
        Stop
      </Act>
    </>
  )
}

function Returns({ redrive: { consumer, returns, back } }: { readonly redrive: Redrive }): ReactNode {
  if (returns.length === 0) return null
  return (
    <details className="full">
      <summary>What came back</summary>
      <ul className="letters">
        {returns.map(({ channel, offset, name, message }) => (
          <li key={`${channel}/${offset}`}>
            <To to={{ view: 'letters', consumer, channel, offset }}>
              <bdi>
                {plain(channel, 60)} {offset}
              </bdi>
            </To>
            <bdi>{plain(`${name}: ${message}`, 200)}</bdi>
          </li>
        ))}
      </ul>
      {back > returns.length && <p className="muted">These are the first {exact(returns.length)}.</p>}
    </details>
  )
}

function countsOf({ action, done, back, left, open, gone, phase, total }: Redrive): string {
  if (phase === 'counting') return `${exact(total)} counted`
  const counts =
    action === 'drop'
      ? `${exact(done)} dropped, ${exact(left)} left`
      : `${exact(done)} done, ${exact(back)} back, ${exact(left)} left`
  return [
    counts,
    ...(open > 0 ? [`${exact(open)} not settled yet`] : []),
    ...(gone > 0 ? [`${exact(gone)} redriven or dropped by others`] : []),
  ].join(', ')
}

function wordsOf({ phase, perSecond, action, endedMs, atMs }: Redrive): string {
  if (endedMs === null && Date.now() - atMs > SILENT_MS) return 'Interrupted: waits for a gateway'
  const verb = action === 'drop' ? 'Drop' : 'Redrive'
  switch (phase) {
    case 'waiting':
      return `${verb} waits`
    case 'counting':
      return 'Counting'
    case 'one':
      return 'Redriving one'
    case 'ten':
      return 'Redriving ten'
    case 'all':
      return action === 'drop' ? 'Dropping' : `Redriving ${perSecond} a second`
    case 'done':
      return `${verb} ended`
    case 'stopped':
      return `${verb} stopped`
    case 'returned':
      return 'Stopped: the error came back'
    case 'failed':
      return `${verb} failed`
  }
}
