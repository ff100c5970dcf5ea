/**
 * Finds the promises that wait for the running code. `stop()` uses it to know whether a handler calls it.
 *
 * V8 keeps for each promise the function that awaits it, and a stack trace shows that chain. Here each promise in
 * question is awaited by a function with a unique name. The names in the stack trace of the running code are the
 * answer. This costs nothing until `stop()` is called; an AsyncLocalStorage would make every promise of the process
 * slower (0.5 µs each on Node 20). Where the runtime shows no such chain, the answer is "none".
 */
type Waiter = (promise: Promise<unknown>) => Promise<void>

const names = new WeakMap<Promise<unknown>, string>()
let count = 0

/** Running code, with the promises that settle when it, or a part of it, has ended. */
interface Run {
  readonly running: Promise<unknown> | null
  readonly layers: readonly Promise<unknown>[] | null
}

/** The runs that cannot end before the calling code continues. */
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
