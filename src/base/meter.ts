/** A rate over the last ten seconds. Times are what `elapsed` of a clock returns, which never goes back. */
const SECONDS = 10

export class Meter {
  readonly #counts = new Float64Array(SECONDS)
  #second = 0
  #total = 0

  /** All marks since the meter was made. */
  get total(): number {
    return this.#total
  }

  mark(count: number, elapsedMs: number): void {
    this.#turn(elapsedMs)
    this.#counts[this.#second % SECONDS] = (this.#counts[this.#second % SECONDS] as number) + count
    this.#total += count
  }

  /** Marks a second, over the last ten seconds. */
  rate(elapsedMs: number): number {
    this.#turn(elapsedMs)
    return this.#counts.reduce((sum, count) => sum + count, 0) / SECONDS
  }

  #turn(elapsedMs: number): void {
    const second = Math.floor(elapsedMs / 1000)
    if (second <= this.#second) return
    const passed = Math.min(SECONDS, second - this.#second)
    for (let step = 1; step <= passed; step++) this.#counts[(second - passed + step) % SECONDS] = 0
    this.#second = second
  }
}
