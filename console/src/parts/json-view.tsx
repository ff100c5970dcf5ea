/** A JSON value as a tree. Only opened branches are in the page, so an event of any size and depth can be shown. */
import { type ReactNode, useState } from 'react'
import { brief, exact, plain } from './format.ts'

const MEMBERS_SHOWN = 100
const TEXT_SHOWN = 400

export function JsonView({ value, open = 2 }: { readonly value: unknown; readonly open?: number }): ReactNode {
  return (
    <div className="json">
      <Value value={value} depth={0} open={open} />
    </div>
  )
}

function Value({
  value,
  depth,
  open,
  name,
}: {
  readonly value: unknown
  readonly depth: number
  readonly open: number
  readonly name?: string
}): ReactNode {
  const label = name === undefined ? null : <span className="json-name">{plain(name, 200)}: </span>
  if (typeof value === 'object' && value !== null)
    return <Branch value={value} depth={depth} open={open} label={label} />
  return (
    <div className="json-line">
      {label}
      <Leaf value={value} />
    </div>
  )
}

function Leaf({ value }: { readonly value: unknown }): ReactNode {
  const [whole, setWhole] = useState(false)
  if (typeof value !== 'string')
    return <span className={`json-${value === null ? 'null' : typeof value}`}>{String(value)}</span>
  const long = value.length > TEXT_SHOWN
  return (
    <span className="json-string">
      <bdi>"{plain(long && !whole ? value.slice(0, TEXT_SHOWN) : value, 100_000)}"</bdi>
      {long && (
        <button type="button" className="link" onClick={() => setWhole(!whole)}>
          {whole ? 'less' : `all ${exact(value.length)} characters`}
        </button>
      )}
    </span>
  )
}

function Branch({
  value,
  depth,
  open,
  label,
}: {
  readonly value: object
  readonly depth: number
  readonly open: number
  readonly label: ReactNode
}): ReactNode {
  const [isOpen, setOpen] = useState(depth < open)
  const [most, setMost] = useState(MEMBERS_SHOWN)
  const list = Array.isArray(value)
  const names = Object.keys(value)
  if (names.length === 0)
    return (
      <div className="json-line">
        {label}
        {list ? '[]' : '{}'}
      </div>
    )
  return (
    <div>
      <button type="button" className="json-fold" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <span aria-hidden="true">{isOpen ? '▾' : '▸'}</span> {label}
        <span className="muted">
          {list ? `[${exact(names.length)}]` : `{${exact(names.length)}}`}{' '}
          {isOpen ? '' : brief(names.length > 20 ? '' : value, 80)}
        </span>
      </button>
      {isOpen && (
        <div className="json-members">
          {names.slice(0, most).map((name) => (
            <Value
              key={name}
              name={name}
              value={(value as Readonly<Record<string, unknown>>)[name]}
              depth={depth + 1}
              open={open}
            />
          ))}
          {names.length > most && (
            <button type="button" className="link" onClick={() => setMost(most + 1000)}>
              {exact(names.length - most)} more
            </button>
          )}
        </div>
      )}
    </div>
  )
}
