/**
 * The log lines of one broker. Lines that repeat are grouped: the first of a kind is written at once, those of the next
 * seconds are counted and written as one.
 */
import { LIMITS } from '../base/limits.ts'
import { afterMs } from '../base/timers.ts'
import type { Level, LogFields, LogSink } from './logger.ts'

/** Makes the line when it is written. */
type Line = () => readonly [message: string, fields: LogFields]

interface Group {
  readonly level: Level
  /** Lines since the last one that was written. */
  count: number
  last: Line | null
  cancel: () => void
}

/** The kind of all lines beyond the limit of kinds. */
const OTHERS = 'others'

export class Log {
  readonly #sink: LogSink | null
  readonly #groups = new Map<string, Group>()

  constructor(sink: LogSink | null) {
    this.#sink = sink
  }

  /** Write one line at once. */
  write(level: Level, message: string, fields: LogFields = {}): void {
    this.#sink?.(level, message, fields)
  }

  /** Write one line of a kind that may repeat. */
  repeated(level: Level, kind: string, line: Line): void {
    if (this.#sink === null) return
    const known = this.#groups.get(kind)
    if (known !== undefined) {
      known.count++
      known.last = line
    } else if (this.#groups.size < LIMITS.logKindsMax || kind === OTHERS) {
      const group: Group = { level, count: 0, last: null, cancel: () => undefined }
      this.#groups.set(kind, group)
      this.#wait(kind, group)
      this.write(level, ...line())
    } else this.repeated(level, OTHERS, line)
  }

  /** Write the lines that were only counted so far. */
  close(): void {
    for (const group of this.#groups.values()) {
      group.cancel()
      this.#tell(group)
    }
    this.#groups.clear()
  }

  #wait(kind: string, group: Group): void {
    group.cancel = afterMs(LIMITS.logRepeatMs, () => {
      if (group.count === 0) this.#groups.delete(kind)
      else {
        this.#tell(group)
        this.#wait(kind, group)
      }
    })
  }

  #tell(group: Group): void {
    const { count, last } = group
    group.count = 0
    group.last = null
    if (last === null) return
    const [message, fields] = last()
    this.write(group.level, message, count === 1 ? fields : { ...fields, repeated: count })
  }
}
