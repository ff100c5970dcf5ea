/**
 * The event for which a transaction was begun by `ctx.tx`: what is put into its outbox says that it was caused by this
 * event, as an emission does.
 */
import type { Cause } from './cause.ts'

const causes = new WeakMap<object, Cause>()

export function causeOfTransaction(tx: object): Cause | undefined {
  return causes.get(tx)
}

/** Runs the work with this cause. A SQLite database is the same object in every transaction. */
export function withCause<T>(tx: object, cause: Cause, work: () => T): T {
  causes.set(tx, cause)
  const end = (): boolean => causes.delete(tx)
  let result: T
  try {
    result = work()
  } catch (error) {
    end()
    throw error
  }
  if (result instanceof Promise) result.then(end, end)
  else end()
  return result
}
