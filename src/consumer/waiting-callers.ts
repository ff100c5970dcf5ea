/**
 * Which of some promises wait for the code that is running: so `stop()` knows whether a handler calls it.
 *
 * V8 keeps, for each promise, who awaits it; a stack trace shows that chain. Each promise that is asked about is awaited here by a function with a name
 * of its own, and the names in the trace of the running code tell the answer. Nothing is done while nobody asks: an AsyncLocalStorage would make every
 * promise of the process dearer (measured on Node 20: 0.5 µs each). Where the engine shows no such chain, the answer is "none".
 */
type Waiter = (promise: Promise<unknown>) => Promise<void>

const names = new WeakMap<Promise<unknown>, string>()
let count = 0

/** What runs, by the promises that settle when it, or a part of it, has ended. */
interface Run {
  readonly running: Promise<unknown> | null
  readonly layers: readonly Promise<unknown>[] | null
}

/** Those that cannot end before the code that calls this goes on. */
export function waitingCallers<R extends Run>(runs: readonly R[]): R[] {
  for (const promise of runs.flatMap(promisesOf)) if (!names.has(promise)) nameWaiter(promise)
  const trace = new Set(functionsOfTrace())
  return runs.filter((run) => promisesOf(run).some((promise) => trace.has(names.get(promise) as string)))
}

function promisesOf({ running, layers }: Run): readonly Promise<unknown>[] {
  return running === null ? (layers ?? []) : [running, ...(layers ?? [])]
}

function nameWaiter(promise: Promise<unknown>): void {
  const name = `millrace handler ${++count}`
  names.set(promise, name)
  const { [name]: wait } = {
    [name]: async (awaited: Promise<unknown>): Promise<void> => {
      await awaited
    },
  }
  ;(wait as Waiter)(promise).catch(() => undefined)
}

function functionsOfTrace(): (string | null)[] {
  const { prepareStackTrace, stackTraceLimit } = Error
  const traced: { readonly stack?: unknown } = {}
  try {
    Error.stackTraceLimit = Number.POSITIVE_INFINITY
    Error.prepareStackTrace = (_error, sites) => sites.map((site) => site.getFunctionName())
    Error.captureStackTrace(traced)
    return Array.isArray(traced.stack) ? (traced.stack as (string | null)[]) : []
  } finally {
    if (prepareStackTrace === undefined) Reflect.deleteProperty(Error, 'prepareStackTrace')
    else Error.prepareStackTrace = prepareStackTrace
    Error.stackTraceLimit = stackTraceLimit
  }
}
