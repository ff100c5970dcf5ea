/** Asks before many dead letters are redriven or dropped. Both run as a job in the gateway. */
import { type ReactNode, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import { Confirm } from '../parts/dialog.tsx'
import { exact, plain } from '../parts/format.ts'
import { go } from '../shell/route.tsx'

interface JobDialogOptions {
  readonly consumer: string
  readonly action: 'redrive' | 'drop'
  /** Whose letters; null: all letters of the consumer. */
  readonly fingerprint: string | null
  readonly count: number
  readonly close: () => void
  readonly done: () => void
}

export function JobDialog({ consumer, action, fingerprint, count, close, done }: JobDialogOptions): ReactNode {
  const [canary, setCanary] = useState(true)
  const [perSecond, setPerSecond] = useState(50)
  const call = (reason: string): Call => ({
    method: 'POST',
    path: `api/consumers/${encodeURIComponent(consumer)}/redrives`,
    body: {
      action,
      ...(fingerprint !== null && { fingerprint }),
      ...(action === 'redrive' && { canary, perSecond }),
      reason,
    },
  })
  return (
    <Confirm
      title={`${action === 'redrive' ? 'Redrive' : 'Drop'} ${exact(count)} dead letters of ${plain(consumer, 60)}`}
      verb={action === 'redrive' ? 'Redrive' : 'Drop'}
      danger={action === 'drop'}
      close={close}
      call={call}
      act={async (reason) => {
        await api(call(reason))
        done()
        // The consumer's page shows progress and result, also after the last dead letter.
        go({ view: 'letters', consumer })
      }}
    >
      {action === 'drop' ? (
        <p>They are deleted, and this consumer never handles them. What waits behind them continues.</p>
      ) : (
        <>
          <p>
            They are given back to this consumer alone, in order. It continues when you leave this page, and when the
            gateway restarts.
          </p>
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
        </>
      )}
    </Confirm>
  )
}
