/** Why a consumer does not move, asked when somebody wants to know. */
import { type ReactNode, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import { useAction } from '../parts/async.ts'
import { CopyAs, shellWord } from '../parts/commands.tsx'
import { Problem } from '../parts/notice.tsx'
import { type Answer, Reasons } from '../parts/reasons.tsx'

export function WhyConsumer({ consumer }: { readonly consumer: string }): ReactNode {
  const [answer, setAnswer] = useState<Answer | null>(null)
  const { busy, problem, run } = useAction()
  const call: Call = { path: `api/consumers/${encodeURIComponent(consumer)}/why` }
  return (
    <section className="card stack" aria-label="Why?">
      <div className="row wrap">
        <button type="button" disabled={busy} onClick={() => run(async () => setAnswer(await api<Answer>(call)))}>
          {busy ? 'Asking …' : answer === null ? 'Why does it not move?' : 'Ask again'}
        </button>
        <span className="end">
          <CopyAs command={`millrace why consumer ${shellWord(consumer)}`} call={call} />
        </span>
      </div>
      {problem !== null && <Problem of={problem} />}
      {answer !== null && problem === null && <Reasons of={answer} />}
    </section>
  )
}
