/**
 * Runs tasks when they are due. Tasks with a time (`add`) are in a binary heap and share one timer; a task with a span
 * (`after`) has its own. After `close`, no task runs.
 */
import type { Clock } from './clock.ts'

interface Entry {
  readonly dueMs: number
  /** Among tasks with the same time, the one that was added first runs first. */
  readonly turn: number
  readonly task: () => void
  cancelled: boolean
}

function before(a: Entry, b: Entry): boolean {
  return a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.turn < b.turn)
}

export class DueQueue {
  readonly #clock: Clock
  readonly #heap: Entry[] = []
  #cancelTimer: (() => void) | null = null
  #timerMs = Number.POSITIVE_INFINITY
  #closed = false
  #turn = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#heap.length
  }

  /** When the next task is due, or infinity. */
  get nextMs(): number {
    return this.#heap[0]?.dueMs ?? Number.POSITIVE_INFINITY
  }

  /** Run a task at a time, or soon after it. Returns a function that cancels the task. */
  add(dueMs: number, task: () => void): () => void {
    const entry: Entry = { dueMs, turn: this.#turn++, task, cancelled: false }
    this.#push(entry)
    this.#arm()
    return () => {
      entry.cancelled = true
    }
  }

  /** Run a task after a span, also if the wall clock jumps meanwhile. */
  after(delayMs: number, task: () => void): void {
    if (this.#closed) return
    this.#clock.after(delayMs, () => {
      if (!this.#closed) task()
    })
  }

  close(): void {
    this.#closed = true
    this.#cancelTimer?.()
    this.#heap.length = 0
  }

  #arm(): void {
    const next = this.#heap[0]
    if (this.#closed || next === undefined || next.dueMs >= this.#timerMs) return
    this.#cancelTimer?.()
    this.#timerMs = next.dueMs
    this.#cancelTimer = this.#clock.at(next.dueMs, () => this.#fire())
  }

  #fire(): void {
    this.#cancelTimer = null
    this.#timerMs = Number.POSITIVE_INFINITY
    const now = this.#clock.now()
    while (this.#heap.length > 0 && (this.#heap[0] as Entry).dueMs <= now) {
      const entry = this.#pop()
      if (!entry.cancelled) entry.task()
    }
    this.#arm()
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(entry)
    while (at > 0) {
      const parent = (at - 1) >>> 1
      if (!before(entry, heap[parent] as Entry)) break
      heap[at] = heap[parent] as Entry
      at = parent
    }
    heap[at] = entry
  }

  #pop(): Entry {
    const heap = this.#heap
    const top = heap[0] as Entry
    const last = heap.pop() as Entry
    if (heap.length === 0) return top
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && before(heap[child + 1] as Entry, heap[child] as Entry)) child++
      if (!before(heap[child] as Entry, last)) break
      heap[at] = heap[child] as Entry
      at = child
    }
    heap[at] = last
    return top
  }
}
