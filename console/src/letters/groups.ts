/**
 * The dead letters of a consumer by failure, counted to the end: the gateway counts for about a second in each answer.
 * The counts so far are shown at once, with the number of letters counted and of all letters.
 */
import { useCallback, useEffect, useRef, useState } from 'react'
import { api } from '../api/client.ts'

export interface Group {
  readonly fingerprint: string
  readonly name: string
  readonly code: string | null
  readonly kind: string
  readonly frame: string | null
  readonly message: string
  readonly count: number
  readonly firstMs: number
  readonly lastMs: number
  readonly types: readonly string[]
  readonly sample: { readonly channel: string; readonly offset: number }
}

export interface Counted {
  readonly groups: readonly Group[]
  readonly looked: number
  readonly deadLetters: number
  readonly next: string | null
}

export interface Groups {
  readonly counted: Counted | undefined
  readonly problem: Error | null
  readonly again: () => void
}

/** More kinds of failures than this are not kept apart in the page. */
export const GROUPS_MAX = 500
const PAUSE_MS = 2500

export function merged(before: Counted | undefined, next: Counted): Counted {
  if (before === undefined) return next
  const groups = new Map(before.groups.map((group) => [group.fingerprint, group]))
  for (const group of next.groups) {
    const known = groups.get(group.fingerprint)
    if (known === undefined && groups.size >= GROUPS_MAX) continue
    groups.set(group.fingerprint, known === undefined ? group : sum(known, group))
  }
  const largestFirst = [...groups.values()].sort((one, other) => other.count - one.count)
  return { ...next, groups: largestFirst, looked: before.looked + next.looked }
}

function sum(known: Group, group: Group): Group {
  return {
    ...known,
    count: known.count + group.count,
    firstMs: Math.min(known.firstMs, group.firstMs),
    lastMs: Math.max(known.lastMs, group.lastMs),
    types: [...new Set([...known.types, ...group.types])].slice(0, 10),
  }
}

async function countAll(base: string, signal: AbortSignal, show: (counted: Counted) => void): Promise<void> {
  let counted: Counted | undefined
  do {
    const query = { after: counted?.next }
    counted = merged(counted, await api<Counted>({ path: `${base}/dead-letter-groups`, query }, signal))
    show(counted)
  } while (counted.next !== null && !signal.aborted)
}

export function useGroups(base: string): Groups {
  const [state, setState] = useState<Omit<Groups, 'again'>>({ counted: undefined, problem: null })
  const counting = useRef<AbortController | null>(null)
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined)
  const again = useCallback(() => {
    counting.current?.abort()
    clearTimeout(timer.current)
    const its = new AbortController()
    counting.current = its
    const sinceMs = performance.now()
    // A count that was complete stays until the next one is complete.
    const show = (counted: Counted): void => {
      if (its.signal.aborted) return
      setState((before) => ({
        counted: counted.next === null || before.counted?.next !== null ? counted : before.counted,
        problem: null,
      }))
    }
    countAll(base, its.signal, show)
      .catch((problem: Error) => {
        if (!its.signal.aborted) setState((before) => ({ ...before, problem }))
      })
      .finally(() => {
        if (its.signal.aborted) return
        // A long count is repeated seldom.
        timer.current = setTimeout(again, Math.max(PAUSE_MS, 10 * (performance.now() - sinceMs)))
      })
  }, [base])
  useEffect(() => {
    setState({ counted: undefined, problem: null })
    again()
    return () => {
      counting.current?.abort()
      clearTimeout(timer.current)
    }
  }, [again])
  return { ...state, again }
}
