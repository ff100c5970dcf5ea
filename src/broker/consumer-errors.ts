/** What is wrong with a consumer that was asked for: the same errors on every engine. */

import { MillraceError } from '../base/errors.ts'
import type { ConsumerSpec } from './engine.ts'

export function unknownConsumer(consumer: string): MillraceError {
  return new MillraceError('UNKNOWN_CONSUMER', `no consumer "${consumer}" has been started on this broker`, {
    consumer,
  })
}

/**
 * Refuses a consumer with functions that decide about its deliveries: a key of its own, and the keys of limits. On an
 * engine that decides in other processes, these functions are not there. `limits`: whether limits without functions are
 * held.
 * @throws CLAUSE_REFUSED where the consumer has one
 */
export function refuseFunctions(
  { name, keyOf, limits: given = [] }: Pick<ConsumerSpec, 'name' | 'keyOf' | 'limits'>,
  engine: string,
  { why, limits }: { readonly why: string; readonly limits: boolean },
): void {
  const refused = limits ? given.find((limit) => limit.keyOf !== undefined) : given[0]
  if (refused !== undefined)
    throw new MillraceError(
      'CLAUSE_REFUSED',
      `${engine}: consumer "${name}" has the limit "${refused.name}"${limits ? ' with a key function' : ''}, which this engine does not hold: ${why}. Run the consumer in the process that owns a file: or memory: broker`,
      { engine, clause: 21, consumer: name },
    )
  if (keyOf === undefined) return
  throw new MillraceError(
    'CLAUSE_REFUSED',
    `${engine}: consumer "${name}" has a key of its own, which this engine does not apply: ${why}. Declare the key with the channels, or run the consumer in the process that owns a file: or memory: broker`,
    { engine, clause: 4, consumer: name },
  )
}

/**
 * Refuses a second consumer of a queue beside one with a key of its own: the workers of a queue share one order.
 * @throws CLAUSE_REFUSED
 */
export function sharedQueueKey(queue: string, consumer: string, other: string): MillraceError {
  return new MillraceError(
    'CLAUSE_REFUSED',
    `consumer "${consumer}" cannot take queue "${queue}" beside consumer "${other}", because one of them has a key of its own: all workers of a queue share one order. Give them one name and one key, or use a stream`,
    { clause: 4, channel: queue, consumer },
  )
}
