/** Asking for something and showing what came of it: waiting, an answer, or a problem. Never an empty answer for a failed question. */
import { useCallback, useEffect, useRef, useState } from 'react'

export interface Asked<T> {
  /** The last answer, also while it is asked again. */
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
    // An answer to another question is not shown while this one is asked.
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

/** Runs an action at a time: whether it runs, what went wrong, and the way to run it. */
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

/** The value, when it has not changed for a time: for what is typed. */
export function useSettled<T>(value: T, ms: number): T {
  const [settled, setSettled] = useState(value)
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), ms)
    return () => clearTimeout(timer)
  }, [value, ms])
  return settled
}
