/**
 * Two durations of the things of a series, such as of publish calls and of their commits, in histograms.
 *
 * All things are counted. While they are rare, each is measured. At more than about 1,000 a second one in up to 16 is
 * measured, because to read the clock for each would cost as much as three percent of an event's whole way. A measured
 * thing stands for those before it that were not measured. Which one is measured is partly random, so that a pattern in
 * the events cannot distort the result.
 */
import type { Histogram } from './histogram.ts'

/** At the highest rates one in about this many is measured, and one in less than twice as many. */
const STRIDE_MAX = 8
/** While there is at most one in this time, each is measured. */
const RARE_MS = 1

export class Durations {
  readonly first: Histogram
  readonly second: Histogram
  /** How many further things begin until one is measured. */
  #left = 1
  #stride = 1
  #measuredAtMs = Number.NEGATIVE_INFINITY
  /** Things that began since the last measured one. They are in no bucket yet. */
  #unmeasured = 0
  #ended = 0
  #lastFirstMs = 0
  #lastSecondMs = Number.NaN
  /** How many second durations are not in the histogram yet. */
  #owedSecond = 0
  #random = 0x2545f491

  constructor(first: Histogram, second: Histogram) {
    this.first = first
    this.second = second
  }

  /** Whether the thing that begins now is not measured. If it is false, call `beginMeasured`. */
  skips(): boolean {
    if (--this.#left <= 0) return false
    this.#unmeasured++
    return true
  }

  /** A thing begins that is measured. Returns the time, of `performance.now()`. */
  beginMeasured(): number {
    const nowMs = performance.now()
    const isRare = nowMs - this.#measuredAtMs > this.#stride * RARE_MS
    this.#stride = isRare ? 1 : Math.min(this.#stride * 2, STRIDE_MAX)
    this.#measuredAtMs = nowMs
    this.#left = 1 + (this.#stride === 1 ? 0 : this.#chance() % (2 * this.#stride - 1))
    return nowMs
  }

  /** Xorshift. */
  #chance(): number {
    let value = this.#random
    value ^= value << 13
    value ^= value >>> 17
    value ^= value << 5
    this.#random = value
    return value >>> 0
  }

  /**
   * The weight of the measured thing that has just begun: 1 for itself, and 1 for each thing since the last measured
   * one that was not measured.
   */
  takeWeight(): number {
    const others = Math.max(0, this.#unmeasured)
    this.#unmeasured -= others
    return 1 + others
  }

  /** A thing that is not measured has ended, with its second duration or without. */
  endUnmeasured(hasSecond = true): void {
    this.#ended++
    if (!hasSecond) this.#owedSecond--
  }

  /**
   * A measured thing has ended. `firstMs` and `secondMs` are its two durations in milliseconds; `secondMs` is NaN if
   * it has no second one. The second duration is counted `parts` times: a publish call with several events has one
   * duration, and a commit for each of its events.
   */
  endMeasured(weight: number, firstMs: number, secondMs: number, parts = 1): void {
    this.#ended++
    this.#lastFirstMs = firstMs
    this.first.record(firstMs / 1000, weight)
    this.#owedSecond += weight - 1
    if (Number.isNaN(secondMs)) return
    this.#owedSecond += parts
    this.#lastSecondMs = secondMs
    this.#recordSecond()
  }

  #recordSecond(): void {
    if (this.#owedSecond <= 0 || Number.isNaN(this.#lastSecondMs)) return
    this.second.record(this.#lastSecondMs / 1000, this.#owedSecond)
    this.#owedSecond = 0
  }

  /** A thing that is not measured has ended in a way that the histograms leave out. */
  leaveOutUnmeasured(): void {
    this.#unmeasured--
  }

  leaveOutMeasured(weight: number): void {
    this.#unmeasured += weight - 1
  }

  /** Before the histograms are read: things that ended after the last measured one count like that one. */
  settle(): void {
    const owed = Math.min(this.#unmeasured, this.#ended - this.first.count)
    if (owed > 0) {
      this.first.record(this.#lastFirstMs / 1000, owed)
      this.#unmeasured -= owed
      this.#owedSecond += owed
    }
    this.#recordSecond()
  }
}
