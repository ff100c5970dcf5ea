/** One page of dead letters, of one failure or of all. */
import { LIMITS } from '../../base/limits.ts'
import type { Consumers } from '../../broker/consumers.ts'
import type { DeadLetter, DeadLetterQuery, EventPlace } from '../../broker/description.ts'
import { fingerprintOf } from './fingerprint.ts'

export interface LetterPage {
  readonly letters: readonly DeadLetter[]
  /** The place after which the next page begins; null: these were the last letters. */
  readonly next: EventPlace | null
}

/**
 * Looks for letters of a failure for about a second, so a page can be empty and not the last one.
 */
export async function letterPage(
  consumers: Pick<Consumers, 'deadLetters'>,
  consumer: string,
  { limit, ...query }: DeadLetterQuery & { readonly limit: number },
  fingerprint: string | null,
): Promise<LetterPage> {
  const letters: DeadLetter[] = []
  const untilMs = performance.now() + LIMITS.letterGroupsMs
  let chars = 0
  for (let after = query.after ?? null; ; ) {
    const size = fingerprint === null ? limit - letters.length : LIMITS.redrivePageMax
    const page = await consumers.deadLetters(consumer, { ...query, after, limit: size })
    if (page.length === 0) return { letters, next: null }
    for (const letter of page) {
      after = { channel: letter.channel, offset: letter.offset }
      if (fingerprint !== null && fingerprintOf(letter.failure).fingerprint !== fingerprint) continue
      letters.push(letter)
      chars += letter.text.length
      if (letters.length >= limit || chars >= LIMITS.deadLetterPageChars) return { letters, next: after }
    }
    if (performance.now() >= untilMs) return { letters, next: after }
  }
}
