/** What a queue's workers have settled is deleted, a while after. */
import type { LogBackend } from './log-backend.ts'
import type { OwnedPartition } from './owned-partition.ts'

const TRIM_MS = 200

/** Delete events of a queue's partition as its floor moves. */
export function trimBehind(owned: OwnedPartition, backend: LogBackend): void {
  let trimmed = owned.cursor.done.floor
  let armed = false
  owned.cursor.state.onMoved = () => {
    if (armed) return
    armed = true
    setTimeout(() => {
      armed = false
      const { floor } = owned.cursor.done
      if (floor <= trimmed || owned.ownership.over) return
      trimmed = floor
      // Not before the floor is durable: what is deleted must not be wanted again.
      owned.ownership
        .flushed()
        .then(() => backend.trim(owned.channel, owned.partition, floor))
        .catch(() => undefined)
    }, TRIM_MS).unref()
  }
}
