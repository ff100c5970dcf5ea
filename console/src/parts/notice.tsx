/** What a page shows instead of content: a problem, a wait, or that there is nothing yet and what to do then. */
import type { ReactNode } from 'react'
import { ApiProblem } from '../api/client.ts'
import { plain } from './format.ts'

export function Problem({ of, again }: { readonly of: Error; readonly again?: () => void }): ReactNode {
  return (
    <div className="notice bad" role="alert">
      <p>
        {of instanceof ApiProblem && <code className="code">{of.code}</code>} {plain(of.message, 600)}
      </p>
      {again !== undefined && (
        <button type="button" onClick={again}>
          Try again
        </button>
      )}
    </div>
  )
}

export function Empty({ title, children }: { readonly title: string; readonly children?: ReactNode }): ReactNode {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children}
    </div>
  )
}

export function Waiting({ what }: { readonly what: string }): ReactNode {
  return (
    <p className="waiting" role="status">
      Loading {what} …
    </p>
  )
}
