/**
 * Search through a channel. Results are shown as they are found, with how many of the events were searched. The search
 * can be stopped and continued. It says "None" only after it has searched all events.
 */
import { type ReactNode, useCallback, useEffect, useRef, useState } from 'react'
import { ApiProblem, type Call, messages } from '../api/client.ts'
import type { Placed } from '../api/types.ts'
import { CopyAs, shellWord } from '../parts/commands.tsx'
import { count, exact, rate } from '../parts/format.ts'
import { Problem } from '../parts/notice.tsx'
import { EventRow, EventRowHead } from './event-row.tsx'

export interface SearchTerms {
  readonly where: string
  readonly filter: string
  readonly key: string
  readonly id: string
  readonly from: string
  readonly to: string
}

export const NO_TERMS: SearchTerms = { where: '', filter: '', key: '', id: '', from: '', to: '' }

interface State {
  readonly hits: readonly Placed[]
  readonly looked: number
  readonly of: number
  /** Where another search continues; null if everything was searched. */
  readonly next: number | null
  readonly phase: 'running' | 'stopped' | 'done' | 'failed'
  readonly problem: Error | null
  readonly perSecond: number
}

interface Said {
  readonly looked: number
  readonly of: number
  readonly next: number | null
}

const BEGIN: State = { hits: [], looked: 0, of: 0, next: null, phase: 'running', problem: null, perSecond: 0 }
const SHOW_MS = 200

export function callOf(channel: string, terms: SearchTerms, to: number | null): Call {
  return { path: `channels/${encodeURIComponent(channel)}/search`, query: { ...terms, ...(to !== null && { to }) } }
}

export function Search({ channel, terms }: { readonly channel: string; readonly terms: SearchTerms }): ReactNode {
  const [state, setState] = useState(BEGIN)
  const running = useRef<AbortController | null>(null)
  const [termsKey] = [JSON.stringify(terms)]
  const begin = useCallback(
    (to: number | null, before: State) => {
      running.current?.abort()
      const asking = new AbortController()
      running.current = asking
      void follow(callOf(channel, JSON.parse(termsKey) as SearchTerms, to), asking.signal, before, setState)
    },
    [channel, termsKey],
  )
  useEffect(() => {
    begin(null, BEGIN)
    return () => running.current?.abort()
  }, [begin])
  const stop = (): void => {
    running.current?.abort()
    setState((now) => ({ ...now, phase: 'stopped' }))
  }
  const where = terms.where === '' ? '' : ` --where ${shellWord(terms.where)}`
  return (
    <>
      <div className="row wrap" role="status">
        <span>{wordsOf(state)}</span>
        {state.phase === 'running' && (
          <button type="button" onClick={stop}>
            Stop
          </button>
        )}
        {(state.phase === 'stopped' || (state.phase === 'done' && state.next !== null)) && (
          <button type="button" onClick={() => begin(state.next, { ...state, phase: 'running' })}>
            Continue
          </button>
        )}
        <CopyAs
          command={`millrace tail ${shellWord(channel)} --from beginning${where}`}
          call={callOf(channel, terms, null)}
        />
      </div>
      <progress value={state.looked} max={Math.max(1, state.of)} aria-label="Looked at" />
      {state.problem !== null && (
        <Problem of={state.problem} again={() => begin(state.next, { ...state, phase: 'running', problem: null })} />
      )}
      <section className="events found" aria-label="Events found">
        <EventRowHead />
        {state.hits.map(({ offset, event }) => (
          <EventRow key={offset} channel={channel} offset={offset} event={event} />
        ))}
      </section>
    </>
  )
}

function wordsOf({ hits, looked, of, phase, next, perSecond }: State): string {
  const searched = `searched ${count(looked)} of ${count(of)}`
  const found = `${exact(hits.length)} found`
  if (phase === 'running') return `${found}, ${searched}, ${rate(perSecond)} …`
  if (phase === 'failed') return `${found} before it failed: ${searched}`
  if (phase === 'stopped') return `${found} so far: stopped, ${searched}`
  if (next !== null) return `${found}: ${searched}; there may be more`
  return hits.length === 0 ? `None: searched all ${exact(of)} events` : `${found}: searched all ${exact(of)} events`
}

/** Read the search's messages, and update the page a few times a second, however fast they arrive. */
async function follow(call: Call, signal: AbortSignal, before: State, show: (state: State) => void): Promise<void> {
  const startedMs = performance.now()
  let state: State = { ...before, phase: 'running', problem: null }
  let shownMs = 0
  const hits = [...before.hits]
  const total = before.of
  const tell = (now: boolean): void => {
    if (signal.aborted || (!now && performance.now() - shownMs < SHOW_MS)) return
    shownMs = performance.now()
    show({ ...state, hits: [...hits] })
  }
  tell(true)
  try {
    for await (const { event, data } of messages(call, signal)) {
      if (event === 'hit') add(hits, data as Placed)
      else {
        const said = data as Said
        const seconds = Math.max(0.001, (performance.now() - startedMs) / 1000)
        const looked = before.looked + said.looked
        const of = total === 0 ? said.of : total
        state = {
          ...state,
          looked,
          of,
          next: said.next,
          perSecond: said.looked / seconds,
          phase: event === 'end' ? 'done' : 'running',
        }
      }
      tell(event === 'end')
    }
    // A stream that ends without its last message was cut off, so the results are not complete.
    if (state.phase === 'running')
      throw new ApiProblem(0, 'UNREACHABLE', 'the connection was cut before the search had ended')
  } catch (error) {
    if (signal.aborted) return
    state = { ...state, phase: 'failed', problem: error as Error }
    tell(true)
  }
}

/**
 * Add a result, unless it is there already: a continued search begins at the last reported position, and may find a few
 * events again.
 */
function add(hits: Placed[], hit: Placed): void {
  if (!hits.some(({ offset }) => offset === hit.offset)) hits.push(hit)
}
