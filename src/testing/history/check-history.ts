/** Checks a history: a pure function from recorded operations to anomalies. */
import { MillraceError } from '../../base/errors.ts'
import { shown } from '../../base/shown.ts'
import { knownOptions } from '../../base/units.ts'
import type { Anomaly, Guarantees } from './anomaly.ts'
import { checkKeys, checkReaders, checkSends } from './check-order.ts'
import { checkEmissions, checkLosses, checkOffsets, checkVisibility } from './check-writes.ts'
import { indexHistory } from './history-index.ts'
import type { Operation } from './operation.ts'

/**
 * The anomalies in a history. An empty result means only that nothing was found in the recorded operations: losses are
 * found only if a `drain` says that everything was read.
 *
 * @throws INVALID_OPTION when the history is not an array of operations, or an option is unknown
 * @example
 * ```ts
 * import { checkHistory } from 'millrace/testing'
 *
 * const base = { process: 'p', channel: 'orders', key: null, value: 'v-1' }
 * checkHistory([
 *   { ...base, action: 'send', outcome: 'invoke', offset: null, time: 1 },
 *   { ...base, action: 'send', outcome: 'ok', offset: 0, time: 2 },
 *   { process: 'p', action: 'drain', consumer: null, channels: ['orders'], time: 3 },
 * ]).map((anomaly) => anomaly.name) // ['unseen']
 * ```
 */
export function checkHistory(history: readonly Operation[], guarantees: Guarantees = {}): Anomaly[] {
  if (!Array.isArray(history) || history.some((operation) => typeof operation !== 'object' || operation === null)) {
    throw new MillraceError('INVALID_OPTION', `a history is an array of operations; this is ${shown(history)}`, {
      option: 'history',
    })
  }
  knownOptions(guarantees, ['orderByKey', 'doneOnce'], 'checkHistory')
  const { orderByKey = true, doneOnce = false } = guarantees
  const index = indexHistory(history)
  return [
    ...checkOffsets(index),
    ...checkVisibility(index),
    ...checkLosses(index),
    ...checkEmissions(index),
    ...checkReaders(index),
    ...checkSends(index),
    ...(orderByKey ? checkKeys(index, doneOnce) : []),
  ]
}
