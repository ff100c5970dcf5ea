/** What is wrong with a consumer that was asked for: the same errors on every engine. */
import { MillraceError } from '../base/errors.ts'

export function unknownConsumer(consumer: string): MillraceError {
  return new MillraceError('UNKNOWN_CONSUMER', `no consumer "${consumer}" has been started on this broker`, {
    consumer,
  })
}
