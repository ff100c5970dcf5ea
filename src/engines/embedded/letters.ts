/** What people do to a consumer's dead letters: list them, give them back, drop them. */
import { MillraceError } from '../../base/errors.ts'
import { DEAD_LETTERS_MAX, type DeadLetter, type DeadLetterQuery } from '../../broker/description.ts'
import type { Cursor } from '../../delivery/cursor.ts'
import { type Boxed, oldestFirst, sharesOf } from '../../delivery/oldest-first.ts'

function boxesOf(cursors: readonly Cursor[]): Boxed<Cursor>[] {
  return cursors.map((cursor) => [cursor, cursor.box])
}

export async function listLetters(cursors: readonly Cursor[], consumer: string, query: DeadLetterQuery): Promise<DeadLetter[]> {
  const letters: DeadLetter[] = []
  for await (const [, letter] of oldestFirst(boxesOf(cursors), consumer, { ...query, limit: query.limit ?? DEAD_LETTERS_MAX })) letters.push(letter)
  return letters
}

/** Answers how many there were. @throws UNKNOWN_DEAD_LETTER when a letter is named and there is none */
export async function settleLetters(cursors: readonly Cursor[], consumer: string, query: DeadLetterQuery, how: 'redrive' | 'drop'): Promise<number> {
  const shares = query.limit === undefined ? null : await sharesOf(boxesOf(cursors), consumer, query)
  let count = 0
  for (const cursor of cursors) {
    const share = shares === null ? {} : { limit: shares.get(cursor) ?? 0 }
    const settled = await cursor.box[how](consumer, { ...query, ...share })
    count += settled.count
    cursor.wake(settled.keys)
  }
  if (count === 0 && (query.offset !== undefined || query.id !== undefined)) {
    const which = query.id ?? `at offset ${query.offset}`
    throw new MillraceError('UNKNOWN_DEAD_LETTER', `consumer "${consumer}" has no dead letter ${which}`, { consumer, ...query })
  }
  return count
}
