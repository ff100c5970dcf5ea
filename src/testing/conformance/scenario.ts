/**
 * What a scenario of the conformance suite is: a name, a clause of the contract, and a function that fails when the clause does not hold.
 *
 * Scenarios know the public API and, where a clause is about the port itself, `Engine`. They know no test runner, no engine and no clock.
 */
import { CLAUSES, type Clause } from '../../broker/capabilities.ts'
import type { World } from './world.ts'

/**
 * What a scenario needs of its world beyond `connect()`:
 * `reopen`: data outlives the broker that wrote it · `crash`: a broker can be dropped as `kill -9` would · `engine`: the port can be opened
 * by itself · `disk`: stored events do not live in this process's memory.
 */
export type Need = 'reopen' | 'crash' | 'engine' | 'disk'

/** One executable statement of the contract. */
export interface Scenario {
  /** Clause and statement: `04-order-by-key/failing-event-holds-back-its-own-key-only`. */
  readonly name: string
  readonly clause: Clause
  readonly needs: readonly Need[]
  /** Rejects when the statement does not hold. */
  run(world: World): Promise<void>
}

type Run = (world: World) => Promise<void>

/** The folder-like first half of a scenario's name: `04-order-by-key`. */
export function clauseSlug(clause: Clause): string {
  return `${String(clause).padStart(2, '0')}-${CLAUSES[clause].replaceAll(' ', '-')}`
}

/** The scenarios of one clause, by the second half of their names; with needs where there are any. */
export function clause(
  number: Clause,
  statements: Readonly<Record<string, Run | readonly [needs: readonly Need[], run: Run]>>,
): readonly Scenario[] {
  return Object.entries(statements).map(([statement, entry]) => {
    const [needs, run] = typeof entry === 'function' ? [[], entry] : entry
    return { name: `${clauseSlug(number)}/${statement}`, clause: number, needs, run }
  })
}
