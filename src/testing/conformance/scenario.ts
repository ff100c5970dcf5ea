/**
 * The definition of a conformance scenario: a name, a clause of the contract, and a function that fails when the clause
 * is broken.
 *
 * Scenarios use the public API and, if a clause is about the port itself, `Engine`. They depend on no test runner,
 * engine or clock.
 */
import { CLAUSES, type Clause } from '../../broker/capabilities.ts'
import type { World } from './world.ts'

/**
 * What a scenario needs from its world besides `connect()`:
 * - `reopen`: data outlives the broker that wrote it
 * - `crash`: a broker can be ended as `kill -9` would end it
 * - `engine`: the port can be opened without a broker
 * - `disk`: stored events are not in this process's memory
 * - `own-key`: the process that decides about deliveries can call the key function of a consumer
 */
export type Need = 'reopen' | 'crash' | 'engine' | 'disk' | 'own-key'

/** One executable statement of the contract. */
export interface Scenario {
  /** Clause and statement: `04-order-by-key/failing-event-holds-back-its-own-key-only`. */
  readonly name: string
  readonly clause: Clause
  readonly needs: readonly Need[]
  /** Rejects when the statement is not true. */
  run(world: World): Promise<void>
}

type Run = (world: World) => Promise<void>

/** The first half of a scenario's name, like a folder: `04-order-by-key`. */
export function clauseSlug(clause: Clause): string {
  return `${String(clause).padStart(2, '0')}-${CLAUSES[clause].replaceAll(' ', '-')}`
}

/** The scenarios of one clause, by the second half of their names, with their needs if they have any. */
export function clause(
  number: Clause,
  statements: Readonly<Record<string, Run | readonly [needs: readonly Need[], run: Run]>>,
): readonly Scenario[] {
  return Object.entries(statements).map(([statement, entry]) => {
    const [needs, run] = typeof entry === 'function' ? [[], entry] : entry
    return { name: `${clauseSlug(number)}/${statement}`, clause: number, needs, run }
  })
}
