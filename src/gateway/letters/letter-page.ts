/** One page of dead letters, of one failure or of all. */
import { LIMITS } from '../../base/limits.ts'
import type { DeadLetter, DeadLetterQuery, EventPlace } from '../../broker/description.ts'
import type { Engine } from '../../broker/engine.ts'
import { fingerprintsOf } from './letter-prints.ts'

export interface LetterPage {
  readonly letters: readonly DeadLetter[]
  /** The place after which the next page begins; null: these were the last letters. */
  readonly next: EventPlace | null
}

/**
 * Looks for letters of a failure for about a second, so a page can be empty and not the last one.
 */
export async function letterPage(
  engine: Pick<Engine, 'consumers' | 'read' | 'channel' | 'clock'>,
  consumer: string,
  { limit, ...query }: DeadLetterQuery & { readonly limit: number },
  fingerprint: string | null,
): Promise<LetterPage> {
  const letters: DeadLetter[] = []
  const untilMs = performance.now() + LIMITS.letterGroupsMs
  let chars = 0
  for (let after = query.after ?? null; ; ) {
    const size = fingerprint === null ? limit - letters.length : LIMITS.redrivePageMax
    const page = await engine.consumers.deadLetters(consumer, { ...query, after, limit: size })
    if (page.length === 0) return { letters, next: null }
    const prints = fingerprint === null ? [] : await fingerprintsOf(engine, page)
    for (const [at, letter] of page.entries()) {
      after = { channel: letter.channel, offset: letter.offset }
      if (fingerprint !== null && prints[at]?.fingerprint !== fingerprint) continue
      letters.push(letter)
      chars += letter.text.length
      if (letters.length >= limit || chars >= LIMITS.deadLetterPageChars) return { letters, next: after }
    }
    if (performance.now() >= untilMs) return { letters, next: after }
  }
}
