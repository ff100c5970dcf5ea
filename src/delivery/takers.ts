/** The instances attached to a cursor, and whose turn it is. */
import type { Cursor } from './cursor.ts'
import type { EventBlock } from './delivery-log.ts'
import type { Instance } from './instance.ts'

export class Takers {
  readonly instances: Instance[] = []
  readonly #cursor: Cursor
  #turn = 0

  constructor(cursor: Cursor) {
    this.#cursor = cursor
  }

  /** Whether anybody has a free place. If not, the cursor is fed when somebody has. */
  any(): boolean {
    for (const instance of this.instances) if (instance.takes) return true
    for (const instance of this.instances) instance.hungry.add(this.#cursor)
    return false
  }

  /** Who takes an event: an instance, `busy` when those who want it have no place, `nobody` when none wants it. */
  pick(block: EventBlock, index: number): Instance | 'busy' | 'nobody' {
    const { instances } = this
    let wanted = false
    for (let step = 0; step < instances.length; step++) {
      this.#turn = (this.#turn + 1) % instances.length
      const instance = instances[this.#turn] as Instance
      if (!instance.filter.accepts(block, index)) continue
      if (instance.takes) return instance
      instance.hungry.add(this.#cursor)
      wanted = true
    }
    return wanted ? 'busy' : 'nobody'
  }

  /** An instance of a consumer that has a free place. */
  of(consumer: string): Instance | undefined {
    return this.instances.find((instance) => instance.takes && instance.spec.name === consumer)
  }

  /** What is in hands of the cursor's events, and how many could be. */
  held(): { credit: number; offsets: number[] } {
    let credit = 0
    const offsets: number[] = []
    for (const instance of this.instances) {
      if (!instance.closing) credit += instance.spec.credit
      for (const delivery of instance.held) if (delivery.cursor === this.#cursor) offsets.push(delivery.offset)
    }
    return { credit, offsets }
  }
}
