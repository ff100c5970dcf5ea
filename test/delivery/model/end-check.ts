/** What must hold when a history has been drained: every event is settled, no state is left, and all credit is free. */
import type { Cursor } from '../../../src/delivery/cursor/cursor.ts'
import { type Account, name } from './account.ts'
import type { Ledger } from './ledger.ts'

/** Every event of an account is settled. `kept`: the offsets that are among the dead letters. */
export function checkSettled(
  ledger: Ledger,
  account: Account,
  cursor: Cursor | undefined,
  kept: { has(offset: number): boolean },
): void {
  for (const entry of account.list) {
    if (entry.state === 'done' || (entry.state === 'open' && account.passable(entry))) continue
    const wasSettled = cursor?.done.has(entry.offset) === true && !kept.has(entry.offset)
    ledger.fail(
      wasSettled ? 'lost' : 'stuck',
      `${name(account, entry)} is ${entry.state}, and ${wasSettled ? 'was never delivered' : 'does not come'}`,
    )
  }
}

/** A cursor holds nothing. `others`: further counts that must be 0. */
export function checkEmpty(
  ledger: Ledger,
  where: string,
  cursor: Cursor,
  others: Readonly<Record<string, number>> = {},
): void {
  const { dead, waiting, chains, unchained } = cursor.box
  const left = {
    outstanding: cursor.outstanding,
    dead,
    waiting,
    chains: chains.size,
    unchained: unchained.size,
    unmatched: cursor.unmatched,
    ...others,
  }
  for (const [what, count] of Object.entries(left))
    if (count !== 0) ledger.fail('left-behind', `${where} has ${count} ${what} at the end`)
}

/** No records are left. */
export function checkRecords(ledger: Ledger, keys: readonly string[]): void {
  if (keys.length > 0) ledger.fail('left-behind', `${keys.length} records are left, as ${keys[0]}`)
}

/** A worker has all its credit. */
export function checkCredit(
  ledger: Ledger,
  worker: { readonly name: string; readonly spec: { readonly credit: number } },
  instance: { readonly credit: number } | null,
): void {
  const { credit } = worker.spec
  if (instance !== null && instance.credit !== credit)
    ledger.fail('left-behind', `${worker.name} has credit for ${instance.credit} of ${credit} deliveries at the end`)
}
