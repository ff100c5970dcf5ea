/** Calls and their states: waiting, an answer, or a problem. A failed call never looks like an empty answer. */
import { useCallback, useEffect, useRef, useState } from 'react'

export interface Asked<T> {
  /** The last answer. It is kept while the call is repeated. */
  readonly value: T | undefined
  readonly problem: Error | null
  readonly busy: boolean
  readonly again: () => void
}

export function useAsked<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  on: readonly unknown[],
  everyMs?: number,
): Asked<T> {
  const key = JSON.stringify(on)
  const [state, setState] = useState<Omit<Asked<T>, 'again'> & { readonly key: string }>({
    value: undefined,
    problem: null,
    busy: true,
    key,
  })
  const question = useRef(ask)
  question.current = ask
  const asking = useRef<AbortController | null>(null)
  const again = useCallback(() => {
    asking.current?.abort()
    const its = new AbortController()
    asking.current = its
    // The answer to an earlier question is not shown while the new question waits.
    setState((before) =>
      before.key === key ? { ...before, busy: true } : { value: undefined, problem: null, busy: true, key },
    )
    question.current(its.signal).then(
      (value) => !its.signal.aborted && setState({ value, problem: null, busy: false, key }),
      (problem: Error) => !its.signal.aborted && setState((before) => ({ ...before, problem, busy: false })),
    )
  }, [key])
  useEffect(() => {
    again()
    const timer = everyMs === undefined ? undefined : setInterval(again, everyMs)
    return () => {
      asking.current?.abort()
      clearInterval(timer)
    }
  }, [again, everyMs])
  return { ...state, again }
}

/** Runs an action, one at a time. Returns whether it runs, its problem, and the function that runs it. */
export function useAction(): {
  readonly busy: boolean
  readonly problem: Error | null
  readonly run: (act: () => Promise<void>) => void
} {
  const [state, setState] = useState<{ readonly busy: boolean; readonly problem: Error | null }>({
    busy: false,
    problem: null,
  })
  const run = useCallback((act: () => Promise<void>) => {
    setState({ busy: true, problem: null })
    act().then(
      () => setState({ busy: false, problem: null }),
      (problem: Error) => setState({ busy: false, problem }),
    )
  }, [])
  return { ...state, run }
}

/** The value after it has not changed for a time, for text that is typed. */
export function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms)
    return () => clearTimeout(timer)
  }, [value, ms])
  return settled
}
