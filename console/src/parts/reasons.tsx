/** The answer to "why?": reasons in words, the first of which decides, and what is not known. */
import type { ReactNode } from 'react'
import { plain } from './format.ts'

export interface Reason {
  readonly because: string
  readonly text: string
}

export interface Answer {
  readonly reasons: readonly Reason[]
  readonly notKnown?: readonly string[]
}

export function Reasons({ of: { reasons, notKnown = [] } }: { readonly of: Answer }): ReactNode {
  return (
    <>
      <ul className="reasons">
        {reasons.map(({ because, text }) => (
          <li key={text}>
            <bdi>{plain(text, 1000)}</bdi> <code className="muted">{because}</code>
          </li>
        ))}
      </ul>
      {notKnown.map((text) => (
        <p key={text} className="muted">
          Not known: {plain(text, 400)}.
        </p>
      ))}
    </>
  )
}
