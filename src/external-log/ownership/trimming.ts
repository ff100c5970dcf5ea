/** What a queue's workers have settled is deleted, a while after. */
import type { Clock } from '../../base/clock.ts'
import type { LastingFailures } from '../../base/lasting-failures.ts'
import type { LogBackend } from '../log-backend.ts'
import type { OwnedPartition } from './owned-partition.ts'

const TRIM_MS = 200

/** Delete events of a queue's partition as its floor moves. */
export function trimBehind(owned: OwnedPartition, backend: LogBackend, clock: Clock, failures: LastingFailures): void {
  const of = `channel "${owned.channel}"`
  let trimmed = owned.cursor.done.floor
  let armed = false
  const trimSoon = (): void => {
    if (armed) return
    armed = true
    clock.after(TRIM_MS, () => {
      armed = false
      const { floor } = owned.cursor.done
      if (floor <= trimmed || owned.ownership.over) return
      const before = trimmed
      trimmed = floor
      // Not before the floor is durable: what is deleted must not be wanted again.
      owned.ownership
        .flushed()
        .then(() => backend.trim(owned.channel, owned.partition, floor))
        .then(
          () => failures.succeeded(of),
          (error: unknown) => {
            if (owned.ownership.over) return
            failures.failed(of, error)
            trimmed = before
            trimSoon()
          },
        )
    })
  }
  owned.cursor.state.onMoved = trimSoon
}
