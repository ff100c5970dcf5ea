/** Redriven events that belong to no chain, given out in their order, some at a time: texts that are not at hand are fetched first. */
import type { DeadRecord } from './consumer-records.ts'
import type { DeadLetterBox } from './dead-letter-box.ts'
import type { Instance } from './instance.ts'
import type { Takers } from './takers.ts'

/** Looked at in one go. */
const TURN = 1000

export interface LooseHost {
  readonly box: DeadLetterBox
  readonly takers: Takers
  /** Hand it out, now or when its next attempt is due. */
  handLoose(instance: Instance, record: DeadRecord, offset: number): void
  pump(): void
}

export function giveLoose(host: LooseHost): void {
  const { box, takers } = host
  const turn = box.loose.splice(0, TURN)
  for (const [at, offset] of turn.entries()) {
    const record = box.event(offset)
    if (record === undefined) {
      box.loose.unshift(...turn.slice(at))
      void box.fetch(offset).then(
        () => host.pump(),
        () => undefined,
      )
      return
    }
    const target = takers.of(record.consumer)
    if (target === undefined) box.loose.push(offset)
    else host.handLoose(target, record, offset)
  }
}
