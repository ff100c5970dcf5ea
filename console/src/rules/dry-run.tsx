/** Shows what a rule would have done with stored events. Nothing is done. */
import { type ReactNode, useId, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import { useAction } from '../parts/async.ts'
import { CopyAs } from '../parts/commands.tsx'
import { JsonView } from '../parts/json-view.tsx'
import { Problem } from '../parts/notice.tsx'
import type { RuleText } from './rule-text.ts'

export function DryRun({ rule }: { readonly rule: RuleText | null }): ReactNode {
  const [from, setFrom] = useState('7d')
  const [result, setResult] = useState<unknown>(undefined)
  const { busy, problem, run } = useAction()
  const field = useId()
  const call: Call = { method: 'POST', path: 'api/rule-tests', body: { rule, from, show: 10 } }
  return (
    <section className="card stack" aria-labelledby="dry">
      <h2 id="dry">Try it on stored events</h2>
      <div className="row wrap">
        <label htmlFor={field}>Since</label>
        <input id={field} value={from} size={10} onChange={({ target }) => setFrom(target.value)} />
        <button
          type="button"
          disabled={busy || rule === null}
          onClick={() => run(async () => setResult(await api<unknown>(call)))}
        >
          {busy ? 'Trying …' : 'Try'}
        </button>
        <CopyAs call={call} />
      </div>
      {problem !== null && <Problem of={problem} />}
      {result !== undefined && problem === null && <JsonView value={result} open={2} />}
    </section>
  )
}
