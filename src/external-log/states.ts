/** State and tables (clause 19) are refused on servers: this engine cannot find the latest event of a key yet. */
import { MillraceError } from '../base/errors.ts'
import type { Tables } from '../broker/engine.ts'
import type { States } from '../delivery/dispatch/instance.ts'

export function refusedState(engine: string, what: string): MillraceError {
  const message = `${engine} does not keep state yet, so it has no ${what}: use file: for a consumer with state, or keep the state in a database`
  return new MillraceError('CLAUSE_REFUSED', message, { engine, clause: 19 })
}

/** No consumer with state is subscribed. */
export const NO_STATES: States = { stateOf: () => null, emitted: () => undefined }

export function refusedTables(engine: string): Tables {
  const refuse = async (channel: string): Promise<never> => {
    throw refusedState(engine, `table of channel "${channel}"`)
  }
  return { get: refuse, scan: refuse }
}
