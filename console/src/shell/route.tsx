/** The view and its state, which are in the query of the URL: a link shows what its sender saw. */
import { type MouseEvent, type ReactNode, useMemo, useSyncExternalStore } from 'react'

export type Place = Readonly<Record<string, string | number | null | undefined>>

const listeners = new Set<() => void>()
addEventListener('popstate', () => {
  for (const listener of listeners) listener()
})

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

export function hrefOf(place: Place): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(place))
    if (value !== null && value !== undefined && value !== '') query.set(name, String(value))
  return query.size === 0 ? location.pathname : `?${query}`
}

export function go(place: Place, { replace = false }: { readonly replace?: boolean } = {}): void {
  const href = hrefOf(place)
  if (replace) history.replaceState(null, '', href)
  else history.pushState(null, '', href)
  if (!replace) scrollTo(0, 0)
  for (const listener of listeners) listener()
}

export interface Query {
  readonly all: Readonly<Record<string, string>>
  get(name: string): string
  /**
   * Change some values and keep the others. With `replace`, the history entry is replaced, so that typing does not add
   * an entry for each letter.
   */
  set(changes: Place, options?: { readonly replace?: boolean }): void
}

export function useQuery(): Query {
  const search = useSyncExternalStore(subscribe, () => location.search)
  return useMemo(() => {
    const all = Object.fromEntries(new URLSearchParams(search))
    return {
      all,
      get: (name) => all[name] ?? '',
      set: (changes, { replace = true } = {}) => go({ ...all, ...changes }, { replace }),
    }
  }, [search])
}

export function To({
  to,
  children,
  className,
  title,
}: {
  readonly to: Place
  readonly children: ReactNode
  readonly className?: string
  readonly title?: string
}): ReactNode {
  const follow = (event: MouseEvent): void => {
    if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return
    event.preventDefault()
    go(to)
  }
  return (
    <a href={hrefOf(to)} onClick={follow} className={className} title={title}>
      {children}
    </a>
  )
}
