/** The command palette: finds parts and views by name. Ctrl+K opens it, the arrow keys choose, Enter opens. */
import { type KeyboardEvent, type ReactNode, useMemo, useState } from 'react'
import type { FlowPart } from '../api/types.ts'
import { useStructure } from '../live/live-flow.ts'
import { Dialog } from '../parts/dialog.tsx'
import { plain } from '../parts/format.ts'
import { go, type Place } from './route.tsx'

interface Entry {
  readonly label: string
  readonly kind: string
  readonly to: Place
}

const VIEWS: readonly Entry[] = [
  { label: 'Flow', kind: 'view', to: {} },
  { label: 'Flow: problems only', kind: 'view', to: { only: 'problems' } },
  { label: 'Channels', kind: 'view', to: { view: 'channels' } },
  { label: 'Consumers', kind: 'view', to: { view: 'consumers' } },
  { label: 'Dead letters', kind: 'view', to: { view: 'letters' } },
  { label: 'Rules', kind: 'view', to: { view: 'rules' } },
  { label: 'Catalogue', kind: 'view', to: { view: 'catalogue' } },
  { label: 'Publish an event', kind: 'view', to: { view: 'publish' } },
]
const SHOWN = 12

/** The page of a part. A source or a target has no page, so its place in the flow is opened. */
export function placeOf({ id, kind, name }: FlowPart): Place {
  return kind === 'source' || kind === 'target' ? { part: id } : { view: kind, name }
}

export function Palette({ close }: { readonly close: () => void }): ReactNode {
  const structure = useStructure()
  const [text, setText] = useState('')
  const [at, setAt] = useState(0)
  const entries = useMemo(() => {
    const parts =
      structure?.parts.map((part): Entry => ({ label: part.name, kind: part.kind, to: placeOf(part) })) ?? []
    const words = text.toLowerCase().split(/\s+/)
    return [...VIEWS, ...parts]
      .filter(({ label, kind }) => words.every((word) => `${kind} ${label}`.toLowerCase().includes(word)))
      .slice(0, SHOWN)
  }, [structure, text])
  const choose = (entry: Entry | undefined): void => {
    if (entry === undefined) return
    close()
    go(entry.to)
  }
  const onKey = (event: KeyboardEvent): void => {
    if (event.key === 'Enter') choose(entries[at])
    else if (event.key === 'ArrowDown') setAt(Math.min(at + 1, entries.length - 1))
    else if (event.key === 'ArrowUp') setAt(Math.max(at - 1, 0))
    else return
    event.preventDefault()
  }
  return (
    <Dialog title="Go to" close={close}>
      <input
        aria-label="Name of a view, channel, consumer, rule or source"
        placeholder="Name of a view, channel, consumer …"
        value={text}
        onKeyDown={onKey}
        onChange={(event) => {
          setText(event.target.value)
          setAt(0)
        }}
      />
      <ul className="palette">
        {entries.map((entry, index) => (
          <li key={`${entry.kind} ${entry.label}`}>
            <button type="button" className={index === at ? 'here' : undefined} onClick={() => choose(entry)}>
              <bdi>{plain(entry.label, 120)}</bdi>
              <span className="muted">{entry.kind}</span>
            </button>
          </li>
        ))}
      </ul>
      {entries.length === 0 && <p className="muted">Nothing has this name.</p>}
    </Dialog>
  )
}
