/** Redrives that run or ran in the gateway, with their progress and their results. */
import type { ReactNode } from 'react'
import { api } from '../api/client.ts'
import { useAction } from '../parts/async.ts'
import { ago, exact, plain } from '../parts/format.ts'
import { Problem } from '../parts/notice.tsx'

export interface Redrive {
  readonly id: string
  readonly phase: 'one' | 'ten' | 'all' | 'done' | 'stopped' | 'returned' | 'failed'
  readonly perSecond: number
  readonly redriven: number
  readonly back: number
  readonly left: number
  readonly problem: string | null
  readonly startedMs: number
  readonly endedMs: number | null
}

export function RedriveRow({
  redrive,
  base,
  again,
}: {
  readonly redrive: Redrive
  readonly base: string
  readonly again: () => void
}): ReactNode {
  const { id, phase, redriven, back, left, problem, startedMs, endedMs } = redrive
  const { busy, problem: failed, run } = useAction()
  const level = phase === 'done' && back === 0 ? 'good' : phase === 'returned' || phase === 'failed' ? 'bad' : 'warn'
  return (
    <div className="card row wrap redrive" role="status">
      <span className={`badge ${endedMs === null ? 'warn' : level}`}>{wordsOf(redrive)}</span>
      <span>
        {exact(redriven - back)} done, {exact(back)} back, {exact(left)} left
      </span>
      <progress value={redriven} max={Math.max(1, redriven + left)} aria-label="Redriven" />
      <span className="muted end">begun {ago(startedMs)}</span>
      {problem !== null && <bdi className="full">{plain(problem, 300)}</bdi>}
      {failed !== null && <Problem of={failed} />}
      {endedMs === null && (
        <button
          type="button"
          disabled={busy}
          onClick={() =>
            run(async () => {
              await api({ method: 'POST', path: `${base}/redrives/${id}/stop` })
              again()
            })
          }
        >
          Stop
        </button>
      )}
    </div>
  )
}

function wordsOf({ phase, perSecond }: Redrive): string {
  switch (phase) {
    case 'one':
      return 'Redriving one'
    case 'ten':
      return 'Redriving ten'
    case 'all':
      return `Redriving ${perSecond} a second`
    case 'done':
      return 'Redrive ended'
    case 'stopped':
      return 'Redrive stopped'
    case 'returned':
      return 'Stopped: the error came back'
    case 'failed':
      return 'Redrive failed'
  }
}
