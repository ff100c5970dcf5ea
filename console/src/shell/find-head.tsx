/** The head of a list of parts: its title, and a field whose text is in the URL as `find`. */
import { type ReactNode, useId } from 'react'
import { useQuery } from './route.tsx'

export function FindHead({ title, label }: { readonly title: string; readonly label: string }): ReactNode {
  const query = useQuery()
  const field = useId()
  return (
    <div className="page-head">
      <h1>{title}</h1>
      <label htmlFor={field} className="hidden">
        {label}
      </label>
      <input
        id={field}
        type="search"
        placeholder="Find"
        value={query.get('find')}
        onChange={(event) => query.set({ find: event.target.value })}
      />
    </div>
  )
}
