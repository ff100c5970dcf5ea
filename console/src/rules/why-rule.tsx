/** Why a rule acted, or did not act, on a stored event. The event is in the URL. */
import { type ReactNode, useId, useState } from 'react'
import { api, type Call } from '../api/client.ts'
import { useAction } from '../parts/async.ts'
import { CopyAs, shellWord } from '../parts/commands.tsx'
import { Problem } from '../parts/notice.tsx'
import { type Answer, Reasons } from '../parts/reasons.tsx'
import { useQuery } from '../shell/route.tsx'

interface RuleAnswer extends Answer {
  readonly matches: boolean | null
  readonly revision: number | null
}

export function WhyRule({ rule, on }: { readonly rule: string; readonly on: string }): ReactNode {
  const query = useQuery()
  const usual = /[*>]/.test(on) ? '' : on
  const channel = query.get('channel') || usual
  const offset = query.get('offset')
  /** With the event that was asked about: it is not shown for another one. */
  const [answered, setAnswered] = useState<{ readonly event: string; readonly answer: RuleAnswer } | null>(null)
  const { busy, problem, run } = useAction()
  const field = useId()
  const isAsked = channel !== '' && /^\d+$/.test(offset)
  const event = `${channel} ${offset}`
  const answer = answered?.event === event ? answered.answer : null
  const call: Call = { path: `api/rules/${encodeURIComponent(rule)}/why`, query: { channel, offset } }
  const command = `millrace why rule ${shellWord(rule)} --on ${shellWord(channel)} --offset ${offset}`
  return (
    <section className="card stack" aria-labelledby="why">
      <h2 id="why">Why did it not act on an event?</h2>
      <div className="row wrap">
        <label htmlFor={`${field}channel`}>Channel</label>
        <input
          id={`${field}channel`}
          value={query.get('channel')}
          placeholder={usual}
          size={16}
          onChange={({ target }) => query.set({ channel: target.value })}
        />
        <label htmlFor={`${field}offset`}>Offset</label>
        <input
          id={`${field}offset`}
          value={offset}
          size={10}
          inputMode="numeric"
          onChange={({ target }) => query.set({ offset: target.value })}
        />
        <button
          type="button"
          disabled={busy || !isAsked}
          onClick={() => run(async () => setAnswered({ event, answer: await api<RuleAnswer>(call) }))}
        >
          {busy ? 'Asking …' : 'Why?'}
        </button>
        {isAsked && <CopyAs command={command} call={call} />}
      </div>
      {problem !== null && <Problem of={problem} />}
      {answer !== null && problem === null && (
        <>
          {answer.revision !== null && <p>At this event, revision {answer.revision} of the rule was in force.</p>}
          <Reasons of={answer} />
        </>
      )}
    </section>
  )
}
