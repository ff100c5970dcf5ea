/** An instrument for the scenarios of clause 4. */
import assert from 'node:assert/strict'
import type { HandlerContext } from '../../consumer/consumer-types.ts'
import { Calls, numbers, type OrderEvent } from './fixtures.ts'

/** A handler that reports when it runs twice at once for a key, or out of order. A failed attempt may be repeated. */
export class KeyWatch {
  readonly wrong: string[] = []
  readonly done: Calls = new Calls()
  readonly #running = new Set<string>()
  readonly #last = new Map<string, number>()

  async handle(given: OrderEvent, ctx: HandlerContext, work: () => Promise<unknown>): Promise<void> {
    const { order, n } = given.data
    if (this.#running.has(order)) this.wrong.push(`${order}: ${n} began while another ran`)
    const last = this.#last.get(order) ?? -1
    if (n <= last) this.wrong.push(`${order}: ${n} came after ${last} was done`)
    this.#running.add(order)
    try {
      await work()
      this.#last.set(order, n)
      this.done.add(given, ctx)
    } finally {
      this.#running.delete(order)
    }
  }

  /** Checks that every event was done once, and each key's events in order. */
  check(count: number, keys: number): void {
    assert.deepEqual(this.wrong.slice(0, 5), [])
    assert.deepEqual(this.done.sorted, numbers(count))
    for (let key = 0; key < keys; key++) {
      assert.deepEqual(
        this.done.of(`k${key}`),
        numbers(count).filter((n) => n % keys === key),
      )
    }
  }
}
