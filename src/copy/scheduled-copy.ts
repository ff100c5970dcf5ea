/**
 * Copies delayed events. Those that are due by now are stored at once. Those that an earlier run has copied are left as
 * they are, delayed or already due.
 */
import { MillraceError } from '../base/errors.ts'
import type { CarriedSchedule } from '../broker/carriage.ts'
import type { EncodedEvent } from '../broker/encoded-event.ts'
import type { Engine } from '../broker/engine.ts'
import type { CopiedChannel } from './copy-ledger.ts'
import { digestOf } from './pairing.ts'
import { eventsOf, scheduledOf } from './source-events.ts'

const TOGETHER = 200

function keyOf(event: EncodedEvent): string {
  return digestOf(event).toString('latin1')
}

/** Returns how many delayed events the channel has. @throws COPY_DIFFERS */
export async function putScheduled(source: Engine, target: Engine, { channel, end }: CopiedChannel): Promise<number> {
  const there = new Set<string>()
  for await (const { event } of scheduledOf(target.carriage, channel)) there.add(keyOf(event))
  // Copied events that came due since are after the compared end of the channel.
  for await (const event of eventsOf(target, channel, { offset: end })) there.add(keyOf(event))
  let count = 0
  const batch: CarriedSchedule[] = []
  for await (const scheduled of scheduledOf(source.carriage, channel)) {
    count++
    if (there.has(keyOf(scheduled.event))) continue
    batch.push(scheduled)
    if (batch.length >= TOGETHER) await put(target, channel, batch.splice(0))
  }
  await put(target, channel, batch)
  return count
}

async function put(target: Engine, channel: string, batch: readonly CarriedSchedule[]): Promise<void> {
  const nowMs = target.clock.now()
  const due = batch.filter(({ dueAtMs }) => dueAtMs <= nowMs)
  if (due.length > 0)
    await target.carriage.putEvents(
      channel,
      due.map(({ event }) => ({ ...event, timeMs: nowMs })),
    )
  await Promise.all(
    batch.map(async ({ event, dueAtMs }) => {
      if (dueAtMs <= nowMs) return
      const { duplicate } = await target.publish(channel, event, dueAtMs)
      if (duplicate)
        throw new MillraceError(
          'COPY_DIFFERS',
          `the target refuses the delayed event ${event.id} of "${channel}" as a duplicate of one that it has`,
          {
            channel,
            id: event.id,
          },
        )
    }),
  )
}
