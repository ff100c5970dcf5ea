/** The limits of consumers (clause 21), listed and changed through the broker. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import { durationMs, knownOptions, wholeNumber } from '../base/units.ts'
import type { Engine } from './engine.ts'
import { burstOf, type LimitChange, type LimitSize, type LimitState, type Limits, unknownLimit } from './limits.ts'

/** @throws CLAUSE_REFUSED where the engine has no limits */
export function limitsIn(engine: Pick<Engine, 'name' | 'limits'>): Limits {
  if (engine.limits !== undefined) return engine.limits
  throw new MillraceError('CLAUSE_REFUSED', `${engine.name}: this engine refuses limits of consumers`, {
    engine: engine.name,
    clause: 21,
  })
}

/** @throws INVALID_OPTION · UNKNOWN_LIMIT · CLAUSE_REFUSED */
export async function setLimit(engine: Engine, name: string, change: LimitChange | null): Promise<LimitState> {
  const limits = limitsIn(engine)
  if (typeof name !== 'string' || name === '')
    throw new MillraceError('INVALID_OPTION', `setLimit takes the name of a limit; this is ${shown(name)}`, {
      option: 'name',
    })
  if (change === null) return limits.set(name, null)
  const size = sizeOf(change)
  const state = (await limits.list()).find((each) => each.name === name)
  if (state === undefined) throw unknownLimit(name)
  if ((state.kind === 'rate') !== size.perMs > 0)
    throw new MillraceError('INVALID_OPTION', `limit "${name}" is a ${state.kind} limit: change it as one`, {
      option: 'change',
    })
  return limits.set(name, size)
}

function sizeOf(change: LimitChange): LimitSize {
  if (!('events' in change)) {
    knownOptions(change, ['concurrency'], 'setLimit')
    return { max: wholeNumber(change.concurrency, 'concurrency', 1, LIMITS.limitMax), perMs: 0, burst: 0 }
  }
  knownOptions(change, ['events', 'per', 'burst'], 'setLimit')
  const max = wholeNumber(change.events, 'events', 1, LIMITS.limitMax)
  const perMs = durationMs(change.per, 'per')
  if (perMs < 1) throw new MillraceError('INVALID_OPTION', 'per must be at least 1 ms', { option: 'per' })
  const burst = change.burst === undefined ? burstOf(max, perMs) : wholeNumber(change.burst, 'burst', 1, max)
  return { max, perMs, burst }
}
