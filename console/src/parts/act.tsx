/**
 * A button for an action that needs a permission. Where the caller does not have it, the button is disabled and says
 * so. What the page knows of permissions can be 30 s old, or not be there yet: the gateway checks each action itself.
 */
import { type ReactNode, useEffect, useSyncExternalStore } from 'react'
import { access, api } from '../api/client.ts'

type Action = 'publish' | 'read' | 'manage' | 'rules'

/** On what: a channel, every channel of a consumer, or (none) all channels. */
interface Of {
  readonly channel?: string
  readonly consumer?: string
}

const FRESH_MS = 30_000
const known = new Map<string, { readonly atMs: number; readonly actions: readonly string[] | null }>()
const listeners = new Set<() => void>()

function tell(): void {
  for (const listener of listeners) listener()
}

access.subscribe(() => {
  known.clear()
  tell()
})

/** Asks what is permitted, unless that is known. */
function ask(key: string, of: Of): void {
  const entry = known.get(key)
  if (entry !== undefined && Date.now() - entry.atMs < FRESH_MS) return
  known.set(key, { atMs: Date.now(), actions: entry?.actions ?? null })
  api<{ readonly permitted: readonly string[] }>({ path: 'api/caller', query: { ...of } }).then(
    (answer) => {
      known.set(key, { atMs: Date.now(), actions: answer.permitted })
      tell()
    },
    () => undefined,
  )
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Whether the caller may do this; true as long as that is not known. */
export function useMay(action: Action, of: Of): boolean {
  const key = JSON.stringify(of)
  const entry = useSyncExternalStore(subscribe, () => known.get(key))
  // Also after another token was given, and when the answer is old.
  useEffect(() => ask(key, JSON.parse(key) as Of))
  return entry?.actions?.includes(action) ?? true
}

const WORDS: Readonly<Record<Action, string>> = {
  publish: 'publish here',
  read: 'read this',
  manage: 'manage this',
  rules: 'change rules',
}

export function Act({
  action,
  of,
  className,
  disabled = false,
  onClick,
  children,
}: {
  readonly action: Action
  readonly of: Of
  readonly className?: string
  readonly disabled?: boolean
  readonly onClick: () => void
  readonly children: ReactNode
}): ReactNode {
  const may = useMay(action, of)
  return (
    <button
      type="button"
      className={className}
      disabled={disabled || !may}
      title={may ? undefined : `Your token does not permit to ${WORDS[action]}`}
      onClick={onClick}
    >
      {children}
    </button>
  )
}
