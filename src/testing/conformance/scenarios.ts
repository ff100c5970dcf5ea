/**
 * Every scenario of the contract, by clause. The suite runs this list, and a test compares the documentation with it.
 */
import { durable } from './clauses/01-durable.ts'
import { fanOut } from './clauses/02-fan-out.ts'
import { atLeastOnce } from './clauses/03-at-least-once.ts'
import { oneKeyInChannels } from './clauses/04-one-key-in-channels.ts'
import { orderBehindLetters } from './clauses/04-order-behind-letters.ts'
import { orderByKey } from './clauses/04-order-by-key.ts'
import { ownKey } from './clauses/04-own-key.ts'
import { retry } from './clauses/05-retry.ts'
import { deadLetter } from './clauses/06-dead-letter.ts'
import { letterPages } from './clauses/06-letter-pages.ts'
import { cancel } from './clauses/07-cancel.ts'
import { delay } from './clauses/07-delay.ts'
import { deduplication } from './clauses/08-deduplication.ts'
import { replay } from './clauses/09-replay.ts'
import { boundedMemory } from './clauses/10-bounded-memory.ts'
import { leases } from './clauses/11-leases.ts'
import { batchEmissions } from './clauses/12-batch-emissions.ts'
import { causes } from './clauses/12-causes.ts'
import { emissionsAndFailures } from './clauses/12-emissions-and-failures.ts'
import { emitOnce } from './clauses/12-emit-once.ts'
import { refusedEmissions } from './clauses/12-refused-emissions.ts'
import { retention } from './clauses/13-retention.ts'
import { lifecycle } from './clauses/14-lifecycle.ts'
import { pauses } from './clauses/14-pauses.ts'
import { filter } from './clauses/15-filter.ts'
import { wildcards } from './clauses/16-wildcards.ts'
import { discovery } from './clauses/17-discovery.ts'
import { declarations } from './clauses/18-declarations.ts'
import { errors } from './clauses/18-errors.ts'
import { schemas } from './clauses/18-schemas.ts'
import { versions } from './clauses/18-versions.ts'
import { stateInBatches } from './clauses/19-batches.ts'
import { state } from './clauses/19-state.ts'
import { stateChanges } from './clauses/19-state-changes.ts'
import { tables } from './clauses/19-tables.ts'
import { schedules } from './clauses/20-schedules.ts'
import { flowControl } from './clauses/21-flow-control.ts'
import { requests } from './clauses/22-request-and-reply.ts'
import type { Scenario } from './scenario.ts'

/**
 * The scenarios of the contract, in the order of its clauses.
 *
 * @example
 * ```ts
 * import { SCENARIOS } from 'millrace/testing'
 *
 * SCENARIOS.filter((scenario) => scenario.clause === 12).length // how many prove "emit once"
 * ```
 */
export const SCENARIOS: readonly Scenario[] = [
  ...durable,
  ...fanOut,
  ...atLeastOnce,
  ...orderByKey,
  ...orderBehindLetters,
  ...oneKeyInChannels,
  ...ownKey,
  ...retry,
  ...deadLetter,
  ...letterPages,
  ...delay,
  ...cancel,
  ...deduplication,
  ...replay,
  ...boundedMemory,
  ...leases,
  ...emitOnce,
  ...emissionsAndFailures,
  ...batchEmissions,
  ...causes,
  ...refusedEmissions,
  ...retention,
  ...lifecycle,
  ...pauses,
  ...filter,
  ...wildcards,
  ...discovery,
  ...errors,
  ...declarations,
  ...versions,
  ...schemas,
  ...state,
  ...stateInBatches,
  ...stateChanges,
  ...tables,
  ...schedules,
  ...flowControl,
  ...requests,
]
