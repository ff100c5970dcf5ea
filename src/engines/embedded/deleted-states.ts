/**
 * Removes what is left of deleted states (clause 19): the event that deletes the state of a key, and the record of
 * where it is, after followers had an hour to see it.
 *
 * Invariants:
 * - The record of a key is deleted only after its event and all earlier events of the key have left the disk: without
 *   it, an earlier state would count as the latest one. A compaction of a channel of states goes through it in order,
 *   and rewrites every block from which something is removed.
 * - The record is left alone if a later event of the key waits for its commit, which writes the record anew.
 */
import { LIMITS } from '../../base/limits.ts'
import { STATE_DELETED } from '../../channel/state-channel.ts'
import { fromFloat } from '../../delivery/consumer-records.ts'
import type { Block } from '../../event/block.ts'
import type { ChannelLog } from './channel-log.ts'
import type { Committer } from './committer.ts'
import { keys } from './records.ts'
import type { Store } from './store.ts'

interface Parts {
  readonly store: Pick<Store<Block>, 'get'>
  readonly committer: Pick<Committer, 'record'>
}

export class DeletedStates {
  readonly #log: ChannelLog
  readonly #parts: Parts
  readonly #beforeMs: number
  /** By key: the offset of the event that was removed in the present step. */
  #step = new Map<string, number>()
  readonly #removed = new Map<string, number>()

  constructor(log: ChannelLog, parts: Parts, nowMs: number) {
    this.#log = log
    this.#parts = parts
    this.#beforeMs = nowMs - LIMITS.stateDeletedMs
  }

  /** A step of the compaction begins. */
  begin(): void {
    this.#step = new Map()
  }

  /** Whether this is the latest event of its key, deletes the state, and is old enough to be removed in this step. */
  takes(key: string | null, offset: number, type: string, timeMs: number): boolean {
    if (key === null || type !== STATE_DELETED || timeMs >= this.#beforeMs) return false
    this.#step.set(key, offset)
    return true
  }

  /** The step is on the disk. */
  done(): void {
    for (const [key, offset] of this.#step) this.#removed.set(key, offset)
    this.#step = new Map()
  }

  /** Delete the records of the keys whose events have left the disk. */
  forget(): void {
    const { store, committer } = this.#parts
    const { committing, pending, id } = this.#log
    const coming = new Set([...(committing?.events ?? []), ...pending].map(({ key }) => key))
    for (const [key, offset] of this.#removed) {
      const record = store.get(keys.latest(id, key))
      if (record !== undefined && fromFloat(record) === offset && !coming.has(key))
        committer.record(keys.latest(id, key), null)
    }
  }
}
