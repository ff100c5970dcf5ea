/** The first screen: the whole flow with its current numbers. */
import { lazy, type ReactNode, Suspense, useEffect, useMemo, useState } from 'react'
import { live, troubleOf, useOf, useStatus, useStructure } from '../live/live-flow.ts'
import { Copy } from '../parts/commands.tsx'
import { Empty, Waiting } from '../parts/notice.tsx'
import { useQuery } from '../shell/route.tsx'
import { choose, GROUP_ABOVE } from './choose.ts'
import { FlowTable } from './flow-table.tsx'
import { PartPanel } from './part-panel.tsx'

const FlowMap = lazy(() => import('./flow-map.tsx'))
const NARROW = '(max-width: 700px)'

export default function FlowView(): ReactNode {
  const structure = useStructure()
  const query = useQuery()
  const problems = query.get('only') === 'problems'
  const troubled = useOf(() => (problems ? troubledIds().join('\n') : ''))
  const grouped =
    query.get('group') === '' ? (structure?.parts.length ?? 0) > GROUP_ABOVE : query.get('group') === 'yes'
  const shown = useMemo(
    () =>
      choose(structure?.parts ?? [], structure?.lines ?? [], {
        search: query.get('find'),
        around: query.get('around'),
        troubled: problems ? new Set(troubled.split('\n')) : null,
        grouped: grouped && query.get('around') === '',
      }),
    [structure, query, problems, troubled, grouped],
  )
  const asTable = useAsTable(query.get('as'))
  const chosen = query.get('part')
  const part = shown.parts.find(({ id }) => id === chosen)
  useKeys(query)
  if (structure === null) return <Connecting />
  if (structure.parts.length === 0) return <NothingYet />
  return (
    <div className="flow">
      <Tools grouped={grouped} asTable={asTable} shown={shown.parts.length} all={structure.parts.length} />
      <div className="flow-body">
        {shown.parts.length === 0 ? (
          <Nothing problems={problems} />
        ) : asTable ? (
          <FlowTable shown={shown} />
        ) : (
          <Suspense fallback={<Waiting what="the map" />}>
            <FlowMap shown={shown} chosen={chosen} choose={(id) => query.set({ part: id })} />
          </Suspense>
        )}
        {part !== undefined && (
          <PartPanel
            part={part}
            lines={shown.lines}
            around={() => query.set({ around: part.id, find: null }, { replace: false })}
            close={() => query.set({ part: null })}
          />
        )}
      </div>
    </div>
  )
}

function troubledIds(): string[] {
  return live.structure?.parts.flatMap(({ id }) => (troubleOf(live.numbers(id)) === null ? [] : [id])) ?? []
}

/** Whether to show the table. On a small screen the table is the default, because a map would show too little. */
function useAsTable(said: string): boolean {
  const [narrow, setNarrow] = useState(() => matchMedia(NARROW).matches)
  useEffect(() => {
    const media = matchMedia(NARROW)
    const change = (): void => setNarrow(media.matches)
    media.addEventListener('change', change)
    return () => media.removeEventListener('change', change)
  }, [])
  return said === '' ? narrow : said === 'table'
}

/** Keyboard shortcuts: `p` shows only problems, `g` groups, `/` searches, `Escape` shows everything. */
function useKeys(query: ReturnType<typeof useQuery>): void {
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]') !== null) return
      const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement
      if (event.key === 'Escape') query.set({ around: null, part: null, find: null, only: null })
      else if (typing) return
      else if (event.key === 'p') query.set({ only: query.get('only') === 'problems' ? null : 'problems' })
      else if (event.key === 'g') query.set({ group: query.get('group') === 'yes' ? 'no' : 'yes' })
      else if (event.key === '2' && query.get('part') !== '') query.set({ around: query.get('part') })
      else if (event.key === '/') {
        event.preventDefault()
        document.querySelector<HTMLInputElement>('.flow-tools input')?.focus()
      }
    }
    addEventListener('keydown', press)
    return () => removeEventListener('keydown', press)
  }, [query])
}

function Tools({
  grouped,
  asTable,
  shown,
  all,
}: {
  readonly grouped: boolean
  readonly asTable: boolean
  readonly shown: number
  readonly all: number
}): ReactNode {
  const query = useQuery()
  const problems = query.get('only') === 'problems'
  return (
    <div className="flow-tools row wrap">
      <h1 className="hidden">Flow</h1>
      <input
        type="search"
        aria-label="Find parts by name"
        placeholder="Find ( / )"
        value={query.get('find')}
        onChange={(event) => query.set({ find: event.target.value })}
      />
      <button
        type="button"
        aria-pressed={problems}
        onClick={() => query.set({ only: problems ? null : 'problems' })}
        title="p"
      >
        Problems only
      </button>
      <button
        type="button"
        aria-pressed={grouped}
        onClick={() => query.set({ group: grouped ? 'no' : 'yes' })}
        title="g"
      >
        Group by prefix
      </button>
      <button type="button" aria-pressed={asTable} onClick={() => query.set({ as: asTable ? 'map' : 'table' })}>
        Table
      </button>
      {query.get('around') !== '' && (
        <button type="button" onClick={() => query.set({ around: null })}>
          Show everything again
        </button>
      )}
      <span className="muted end">{shown === all ? `${all} parts` : `${shown} of ${all} parts`}</span>
    </div>
  )
}

function Connecting(): ReactNode {
  useStatus()
  return live.problem === null ? (
    <Waiting what="the flow" />
  ) : (
    <Empty title="The gateway does not answer">{live.problem}</Empty>
  )
}

function Nothing({ problems }: { readonly problems: boolean }): ReactNode {
  return problems ? (
    <Empty title="No problems">No consumer is stalled, paused, retrying or late, and there are no dead letters.</Empty>
  ) : (
    <Empty title="No part has this name">
      <p>Press Escape to see everything.</p>
    </Empty>
  )
}

function NothingYet(): ReactNode {
  const command = `millrace publish carts --create --type cart.item.added --payload '{"sku":"tea"}'`
  return (
    <Empty title="Nothing flows yet">
      <p>There is no channel. Publish an event, and it appears here while you look:</p>
      <pre>{command}</pre>
      <Copy text={command} label="Copy command" />
    </Empty>
  )
}
