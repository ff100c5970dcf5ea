/** A question "why?", asked when somebody wants to know. */
import { type ReactNode, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import { useAction } from './async.ts'
import { CopyAs } from './commands.tsx'
import { Problem } from './notice.tsx'
import { type Answer, Reasons } from './reasons.tsx'

export function AskWhy({
  question,
  call,
  command,
}: {
  readonly question: string
  readonly call: Call
  readonly command: string
}): ReactNode {
  const [answer, setAnswer] = useState<Answer | null>(null)
  const { busy, problem, run } = useAction()
  return (
    <section className="card stack" aria-label="Why?">
      <div className="row wrap">
        <button type="button" disabled={busy} onClick={() => run(async () => setAnswer(await api<Answer>(call)))}>
          {busy ? 'Asking …' : answer === null ? question : 'Ask again'}
        </button>
        <span className="end">
          <CopyAs command={command} call={call} />
        </span>
      </div>
      {problem !== null && <Problem of={problem} />}
      {answer !== null && problem === null && <Reasons of={answer} />}
    </section>
  )
}
