/** The dead letters of one group, one page after the other. */
import { type ReactNode, useState } from 'react'
import { api } from '../api/client.ts'
import type { DeadLetter } from '../api/types.ts'
import { useAction, useAsked } from '../parts/async.ts'
import { ago, brief, exact, numbered, plain } from '../parts/format.ts'
import { Problem, Waiting } from '../parts/notice.tsx'
import { To } from '../shell/route.tsx'
import type { Group } from './groups.ts'

interface Page {
  readonly deadLetters: readonly DeadLetter[]
  readonly next: string | null
}

const LISTED = 20

export function GroupLetters({ consumer, group }: { readonly consumer: string; readonly group: Group }): ReactNode {
  const path = `api/consumers/${encodeURIComponent(consumer)}/dead-letters`
  const page = (after: string, signal: AbortSignal | null): Promise<Page> =>
    api<Page>({ path, query: { fingerprint: group.fingerprint, after, limit: LISTED } }, signal)
  const first = useAsked((signal) => page('', signal), [path, group.fingerprint])
  const [more, setMore] = useState<Page>({ deadLetters: [], next: null })
  const { busy, problem, run } = useAction()
  if (first.problem !== null) return <Problem of={first.problem} again={first.again} />
  if (first.value === undefined) return <Waiting what="dead letters" />
  const shown = [...first.value.deadLetters, ...more.deadLetters]
  const next = more.deadLetters.length === 0 ? (more.next ?? first.value.next) : more.next
  return (
    <>
      <ul className="letters">
        {shown.map((letter) => (
          <LetterLine key={`${letter.channel}/${letter.offset}`} consumer={consumer} letter={letter} />
        ))}
      </ul>
      {problem !== null && <Problem of={problem} />}
      {next !== null && (
        <p className="row wrap muted">
          {exact(shown.length)} of {exact(group.count)} are shown, in the order of their offsets.
          <button
            type="button"
            disabled={busy}
            onClick={() =>
              run(async () => {
                const following = await page(next, null)
                setMore({ deadLetters: [...more.deadLetters, ...following.deadLetters], next: following.next })
              })
            }
          >
            {busy ? 'Loading …' : 'More'}
          </button>
        </p>
      )}
    </>
  )
}

function LetterLine({ consumer, letter }: { readonly consumer: string; readonly letter: DeadLetter }): ReactNode {
  const { channel, offset, type, key, attempts, deadAtMs, waiting, event } = letter
  return (
    <li>
      <To to={{ view: 'letters', consumer, channel, offset }}>
        <bdi>
          {plain(channel, 60)} {offset}
        </bdi>
      </To>
      <bdi>{plain(type, 60)}</bdi>
      <bdi className="muted">{key === null ? '' : plain(key, 40)}</bdi>
      <span className="muted nowrap">
        {numbered(attempts, 'attempt')}, {ago(deadAtMs)}
        {waiting > 0 && `, ${waiting} wait behind it`}
      </span>
      <bdi className="mono muted letter-data">{brief(event.data, 100)}</bdi>
    </li>
  )
}
