/**
 * The fingerprints of dead letters. They are made from what everyone may see: otherwise the fingerprint of an error
 * that quotes a sensitive field would let people test what is in the field.
 */
import type { DeadLetter } from '../../broker/description.ts'
import type { Engine } from '../../broker/engine.ts'
import { type MaySee, seenLetters } from '../../broker/seen-events.ts'
import { type Fingerprint, fingerprintOf } from './fingerprint.ts'

const seesNothing: MaySee = () => false

/** In the order of the letters. */
export async function fingerprintsOf(
  engine: Pick<Engine, 'read' | 'channel' | 'clock'>,
  letters: readonly DeadLetter[],
): Promise<readonly Fingerprint[]> {
  return (await seenLetters(engine, letters, seesNothing)).map(({ failure }) => fingerprintOf(failure))
}
