/** The causes and effects of an event, as the gateway finds them, with the time at which each was stored. */
import { type ReactNode, useEffect, useState } from 'react'
import { lines } from '../api/client.ts'
import type { CloudEvent } from '../api/types.ts'
import { exact, plain, span } from '../parts/format.ts'
import { Problem } from '../parts/notice.tsx'
import { To } from '../shell/route.tsx'

interface Related {
  readonly channel: string
  readonly offset: number
  readonly storedAt: string
  readonly relation: 'cause' | 'effect' | 'copy'
  readonly distance: number
  readonly event: CloudEvent
}

interface Walk {
  readonly found: readonly Related[]
  readonly looked: number
  readonly over: boolean
  /** Why the tree is not complete; null if everything was searched. */
  readonly ended: string | null
  readonly problem: Error | null
}

const BEGIN: Walk = { found: [], looked: 0, over: false, ended: null, problem: null }
interface Progress {
  readonly looked: number
}
type Line =
  | { readonly found: Related }
  | { readonly progress: Progress }
  | { readonly end: Progress & { readonly ended: string | null } }
  | { readonly error: { readonly detail: string } }

function useWalk(channel: string, offset: number, direction: 'causes' | 'effects'): Walk {
  const [walk, setWalk] = useState(BEGIN)
  useEffect(() => {
    const asking = new AbortController()
    setWalk(BEGIN)
    void (async () => {
      let now = BEGIN
      try {
        const path = `channels/${encodeURIComponent(channel)}/events/${offset}/${direction}`
        for await (const each of lines({ path }, asking.signal)) {
          now = after(now, each as Line)
          if (!('found' in (each as Line))) setWalk(now)
        }
        if (!now.over) throw new Error('the connection was cut before all was seen')
      } catch (problem) {
        if (!asking.signal.aborted) setWalk({ ...now, problem: problem as Error, over: true })
      }
    })()
    return () => asking.abort()
  }, [channel, offset, direction])
  return walk
}

function after(walk: Walk, line: Line): Walk {
  if ('found' in line) return { ...walk, found: [...walk.found, line.found] }
  if ('progress' in line) return { ...walk, looked: line.progress.looked }
  if ('end' in line) return { ...walk, looked: line.end.looked, ended: line.end.ended, over: true }
  return { ...walk, over: true, problem: new Error(line.error.detail) }
}

interface Branch extends Pick<Related, 'channel' | 'offset' | 'event'> {
  readonly depth: number
  readonly atMs: number | null
  readonly copy: boolean
  readonly here: boolean
}

export function CausalTree({
  channel,
  offset,
  event,
}: {
  readonly channel: string
  readonly offset: number
  readonly event: CloudEvent
}): ReactNode {
  const causes = useWalk(channel, offset, 'causes')
  const effects = useWalk(channel, offset, 'effects')
  const branches = branchesOf({ channel, offset, event }, causes.found, effects.found)
  const times = branches.flatMap(({ atMs }) => (atMs === null ? [] : [atMs]))
  const [startMs, endMs] = [Math.min(...times), Math.max(...times)]
  const problem = causes.problem ?? effects.problem
  return (
    <section className="card stack" aria-labelledby="causal">
      <div className="row wrap">
        <h2 id="causal">Causes and effects</h2>
        <span className="muted end" role="status">
          {causes.over && effects.over ? '' : 'looking … '}
          {exact(causes.looked + effects.looked)} events looked at
        </span>
      </div>
      {problem !== null && <Problem of={problem} />}
      <ol className="tree">
        {branches.map((branch) => (
          <li key={`${branch.channel}/${branch.offset}`} className={branch.here ? 'here' : undefined}>
            <span className="tree-what" style={{ paddingLeft: Math.min(branch.depth, 12) * 18 }}>
              {branch.depth > 0 && <span aria-hidden="true">└ </span>}
              <To to={{ view: 'event', name: branch.channel, offset: branch.offset }}>
                <bdi>{plain(branch.event.type, 80)}</bdi>
              </To>{' '}
              <span className="muted">
                <bdi>{plain(branch.channel, 60)}</bdi>
                {branch.copy && ' · copy'}
              </span>
            </span>
            <TimeBar atMs={branch.atMs} startMs={startMs} endMs={endMs} />
          </li>
        ))}
      </ol>
      {branches.length === 1 && causes.over && effects.over && problem === null && (
        <p className="muted">Nothing that is kept caused this event, and it caused nothing.</p>
      )}
      {endedWords(causes.ended, effects.ended).map((words) => (
        <p key={words} className="warn">
          {words}
        </p>
      ))}
    </section>
  )
}

const ENDED: Readonly<Record<string, string>> = {
  budget: 'Not everything was looked at: the channels keep more events than one look takes.',
  limit: 'There are more events than are shown.',
  'missing cause': 'The first cause is not kept any more.',
  stopped: 'The look was stopped.',
}

function endedWords(...ended: readonly (string | null)[]): string[] {
  return [...new Set(ended.flatMap((each) => (each === null ? [] : [ENDED[each] ?? each])))]
}

function TimeBar({
  atMs,
  startMs,
  endMs,
}: {
  readonly atMs: number | null
  readonly startMs: number
  readonly endMs: number
}): ReactNode {
  if (atMs === null) return <span className="tree-time" />
  const part = endMs > startMs ? (atMs - startMs) / (endMs - startMs) : 0
  return (
    <span className="tree-time">
      <span className="tree-axis" aria-hidden="true">
        <span style={{ left: `${part * 100}%` }} />
      </span>
      <span className="muted nowrap">{atMs === startMs ? 'start' : `+${span(atMs - startMs)}`}</span>
    </span>
  )
}

/** The tree from the first cause down: each event is below the one that caused it. */
function branchesOf(
  start: Pick<Related, 'channel' | 'offset' | 'event'>,
  causes: readonly Related[],
  effects: readonly Related[],
): Branch[] {
  const up = [...causes].sort((one, other) => other.distance - one.distance)
  const depthOf = new Map<string, number>()
  const branches: Branch[] = up.map((related, index) => {
    const depth =
      related.relation === 'copy' ? Math.max(0, index - 1) : (depthOf.get(related.event.causationid ?? '') ?? -1) + 1
    depthOf.set(related.event.id, depth)
    return { ...related, depth, atMs: Date.parse(related.storedAt), copy: related.relation === 'copy', here: false }
  })
  const own = (depthOf.get(start.event.causationid ?? '') ?? -1) + 1
  depthOf.set(start.event.id, own)
  const startMs = start.event.time === undefined ? Number.NaN : Date.parse(start.event.time)
  branches.push({ ...start, depth: own, atMs: Number.isNaN(startMs) ? null : startMs, copy: false, here: true })
  return [...branches, ...below(start.event.id, own, effects, new Set())]
}

function below(id: string, depth: number, effects: readonly Related[], seen: Set<Related>): Branch[] {
  return effects
    .filter(
      (each) => !seen.has(each) && (each.relation === 'copy' ? each.event.id === id : each.event.causationid === id),
    )
    .flatMap((each) => {
      seen.add(each)
      const branch: Branch = {
        ...each,
        depth: depth + 1,
        atMs: Date.parse(each.storedAt),
        copy: each.relation === 'copy',
        here: false,
      }
      return [branch, ...(branch.copy ? [] : below(each.event.id, depth + 1, effects, seen))]
    })
}
