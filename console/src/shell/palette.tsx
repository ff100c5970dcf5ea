/** The command palette: finds parts and views by name. Ctrl+K opens it, the arrow keys choose, Enter opens. */
import { type KeyboardEvent, type ReactNode, useId, useMemo, useState } from 'react'
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

/**
 * A combobox with a list (ARIA): the focus stays in the field, and the field says which entry is active. The dialog
 * keeps the focus inside and gives it back when it closes.
 */
export function Palette({ close }: { readonly close: () => void }): ReactNode {
  const structure = useStructure()
  const [text, setText] = useState('')
  const [at, setAt] = useState(0)
  const list = useId()
  const entries = useMemo(() => found(structure?.parts ?? [], text), [structure, text])
  const active = Math.min(at, entries.length - 1)
  const choose = (entry: Entry | undefined): void => {
    if (entry === undefined) return
    close()
    go(entry.to)
  }
  const onKey = (event: KeyboardEvent): void => {
    const next = moved(event.key, active, entries.length)
    if (event.key === 'Enter') choose(entries[active])
    else if (next === null) return
    else setAt(next)
    event.preventDefault()
  }
  return (
    <Dialog title="Go to" close={close}>
      <input
        role="combobox"
        aria-label="Name of a view, channel, consumer, rule or source"
        aria-expanded={entries.length > 0}
        aria-controls={list}
        aria-autocomplete="list"
        aria-activedescendant={entries.length > 0 ? `${list}-${active}` : undefined}
        placeholder="Name of a view, channel, consumer …"
        value={text}
        onKeyDown={onKey}
        onChange={(event) => {
          setText(event.target.value)
          setAt(0)
        }}
      />
      <div className="palette" id={list} role="listbox" aria-label="Found">
        {entries.map((entry, index) => (
          <div
            key={`${entry.kind} ${entry.label}`}
            id={`${list}-${index}`}
            role="option"
            tabIndex={-1}
            aria-selected={index === active}
            // The focus stays in the field.
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => choose(entry)}
            onKeyDown={onKey}
          >
            <bdi>{plain(entry.label, 120)}</bdi>
            <span className="muted">{entry.kind}</span>
          </div>
        ))}
      </div>
      <p className="muted" role="status">
        {entries.length === 0 ? 'Nothing has this name.' : ''}
      </p>
    </Dialog>
  )
}

function found(parts: readonly FlowPart[], text: string): readonly Entry[] {
  const words = text.toLowerCase().split(/\s+/)
  const entries = parts.map((part): Entry => ({ label: part.name, kind: part.kind, to: placeOf(part) }))
  return [...VIEWS, ...entries]
    .filter(({ label, kind }) => words.every((word) => `${kind} ${label}`.toLowerCase().includes(word)))
    .slice(0, SHOWN)
}

/** The entry that a key moves to, from the first to the last and round; null: it is no such key. */
function moved(key: string, at: number, count: number): number | null {
  if (count === 0) return null
  if (key === 'ArrowDown') return (at + 1) % count
  if (key === 'ArrowUp') return (at + count - 1) % count
  if (key === 'PageDown') return Math.min(count - 1, at + 5)
  if (key === 'PageUp') return Math.max(0, at - 5)
  return null
}
