/** Rewind a consumer: choose a position, see what would be delivered again, and then do it. */
import { type ReactNode, useId, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import { useAsked, useSettled } from '../parts/async.ts'
import { shellWord } from '../parts/commands.tsx'
import { Confirm } from '../parts/dialog.tsx'
import { ago, exact, plain } from '../parts/format.ts'
import { Problem, Waiting } from '../parts/notice.tsx'

interface Preview {
  readonly channels: readonly {
    readonly channel: string
    readonly to: number
    readonly floor: number
    readonly events: number
    readonly oldest: string | null
    readonly keys: number
    readonly keysOfAll: boolean
  }[]
}

export function Rewind({
  consumer,
  close,
  done,
}: {
  readonly consumer: string
  readonly close: () => void
  readonly done: () => void
}): ReactNode {
  const [to, setTo] = useState('1h')
  const field = useId()
  const base = `api/consumers/${encodeURIComponent(consumer)}`
  const call = (reason: string): Call => ({ method: 'POST', path: `${base}/rewind`, query: { to, reason } })
  return (
    <Confirm
      title={`Rewind ${plain(consumer, 80)}`}
      verb="Rewind"
      danger
      close={close}
      call={call}
      command={(reason) =>
        `millrace consumer rewind ${shellWord(consumer)} --to ${shellWord(to)}${reason === '' ? '' : ` --reason ${shellWord(reason)}`}`
      }
      act={async (reason) => {
        await api(call(reason))
        done()
      }}
    >
      <label htmlFor={field}>To</label>
      <input id={field} value={to} onChange={(event) => setTo(event.target.value)} list={`${field}list`} />
      <datalist id={`${field}list`}>
        <option value="beginning" />
        <option value="end" />
        <option value="10m" />
        <option value="1h" />
        <option value="1d" />
      </datalist>
      <p className="muted">
        beginning, end, an offset, a time such as 2026-11-29T08:00:00Z, or an age such as 1h. The consumer may run.
      </p>
      <PreviewOf base={base} to={to} />
    </Confirm>
  )
}

function PreviewOf({ base, to }: { readonly base: string; readonly to: string }): ReactNode {
  const settled = useSettled(to.trim(), 300)
  const { value, problem } = useAsked(
    (signal) => api<Preview>({ path: `${base}/rewind-preview`, query: { to: settled } }, signal),
    [base, settled],
  )
  if (problem !== null) return <Problem of={problem} />
  if (value === undefined) return <Waiting what="the preview" />
  return (
    <ul className="preview">
      {value.channels.map(({ channel, events, oldest, keys, keysOfAll }) => (
        <li key={channel}>
          <b>
            <bdi>{plain(channel, 80)}</bdi>
          </b>
          :{' '}
          {events > 0
            ? `${exact(events)} events again, of ${keysOfAll ? '' : 'at least '}${exact(keys)} keys${oldest === null ? '' : `, the oldest stored ${ago(Date.parse(oldest))}`}`
            : events === 0
              ? 'stays where it is'
              : `${exact(-events)} events are passed over`}
        </li>
      ))}
      {value.channels.length === 0 && <li>It takes no stream: a queue does not keep what is done.</li>}
    </ul>
  )
}
