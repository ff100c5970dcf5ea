/** Names the consumers that a refused change of a schema would break. */
import { isMillraceError } from '../base/errors.ts'
import { refusedSchema } from '../compatibility/redeclared.ts'
import type { Engine } from './engine.ts'

const CONSUMERS_MAX = 20

/** Throws the error of a declaration; a refused schema with the consumers of its channel, if they can be found out. */
export async function withConsumers(engine: Pick<Engine, 'describe'>, error: unknown): Promise<never> {
  if (!isMillraceError(error, 'INCOMPATIBLE_SCHEMA')) throw error
  const described = await engine.describe().catch(() => null)
  if (described === null) throw error
  const { details } = error
  const takes = (place: { readonly channel: string }): boolean => place.channel === details.channel
  const consumers = described.consumers.filter(({ channels }) => channels.some(takes)).map(({ name }) => name)
  throw refusedSchema({ ...details, consumers: consumers.sort().slice(0, CONSUMERS_MAX) })
}
