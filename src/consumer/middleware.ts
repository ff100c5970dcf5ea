/**
 * Middleware: functions around the handlers, the first that was added outermost. Where there is none, nothing of this runs.
 */
import { MillraceError } from '../base/errors.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { Middleware } from './consumer-types.ts'
import type { DeliveryContext } from './handler-context.ts'
import { WatchedPromise } from './watched-promise.ts'

/** What runs within the middleware: the handlers of an event, or of a batch. */
export interface Work {
  readonly event: StoredEvent
  readonly ctx: DeliveryContext
  /** Of all events of the batch; of the one event otherwise. */
  readonly contexts: readonly DeliveryContext[]
  readonly handle: () => unknown
}

/** Resolves with what the handlers answered, after all layers have ended; with undefined when a middleware did not call `next`. */
export async function within(middleware: readonly Middleware[], work: Work): Promise<unknown> {
  const layers: Promise<unknown>[] = []
  for (const context of work.contexts) context.layers = layers
  let answer: unknown
  const layer = async (index: number): Promise<void> => {
    const one = middleware[index]
    if (one === undefined) {
      answer = await work.handle()
      return
    }
    const called: WatchedPromise<void>[] = []
    await one(work.event, work.ctx, () => {
      if (called.length > 0) throw nextTwice(work.ctx.consumer)
      const next = new WatchedPromise<void>((resolve, reject) => {
        // Through functions, so that the promise that is kept here, and not `next`, is the next link of the chain that V8 shows.
        const layered = layer(index + 1).then(
          () => resolve(),
          (error: unknown) => reject(error),
        )
        layers.push(layered)
      })
      called.push(next)
      void next.outcome()
      return next
    })
    for (const next of called) await ended(next)
  }
  await layer(0)
  return answer
}

/** A middleware need not await what it called: the attempt ends after it all the same, and fails with it unless the middleware looked. */
async function ended(next: WatchedPromise<void>): Promise<void> {
  const outcome = await next.outcome()
  if (outcome.status === 'rejected' && !next.watched) throw outcome.reason
}

function nextTwice(consumer: string): MillraceError {
  return new MillraceError(
    'INVALID_OPTION',
    `a middleware of consumer "${consumer}" called next() twice: the handlers run once for each attempt`,
    { consumer },
  )
}
