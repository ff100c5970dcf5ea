/** The bounds of a channel that may not exist. */
import { isMillraceError } from '../base/errors.ts'
import type { Bounds, Engine } from './engine.ts'

/** The bounds of a channel; null if there is no such channel. */
export async function boundsIn(engine: Pick<Engine, 'bounds'>, channel: string): Promise<Bounds | null> {
  try {
    return await engine.bounds(channel)
  } catch (error) {
    if (isMillraceError(error, 'UNKNOWN_CHANNEL')) return null
    throw error
  }
}
