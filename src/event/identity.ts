/**
 * Ids and times of new events. Ids are UUID version 7 (RFC 9562): they sort by creation within a process.
 *
 * Written here rather than taken from the `uuid` package, whose v7 costs more than the whole rest of publishing an event
 * (4.5 µs against 0.3 µs, measured side by side on Node 20).
 */
import { randomFillSync } from 'node:crypto'

const HEX: readonly string[] = Array.from({ length: 65_536 }, (_, word) => word.toString(16).padStart(4, '0'))
const hex = (word: number): string => HEX[word & 0xffff] as string

/** Random 16-bit words, refilled when used up. */
const pool = new Uint16Array(4096)
let poolAt = pool.length
let lastMs = 0
let sequence = 0
let prefix = ''

function setMillisecond(ms: number, firstSequence: number): void {
  lastMs = ms
  sequence = firstSequence
  const high = Math.floor(ms / 65_536)
  prefix = `${hex(high >>> 16)}${hex(high)}-${hex(ms)}-`
}

/** A new UUID version 7: 48 bits of milliseconds, a 12-bit counter, 62 random bits. Always increasing within a process. */
export function newId(): string {
  if (poolAt + 4 > pool.length) {
    randomFillSync(pool)
    poolAt = 0
  }
  const now = Date.now()
  if (now > lastMs) setMillisecond(now, (pool[poolAt] as number) & 0x7ff)
  else if (sequence < 0xfff) sequence++
  else setMillisecond(lastMs + 1, 0)
  const at = poolAt
  poolAt += 4
  const variant = 0x8000 | ((pool[at] as number) >>> 2)
  return `${prefix}${hex(0x7000 | sequence)}-${hex(variant)}-${hex(pool[at + 1] as number)}${hex(pool[at + 2] as number)}${hex(pool[at + 3] as number)}`
}

let textMs = -1
let text = ''

/** The current time in RFC 3339, to the millisecond. */
export function nowText(): string {
  const now = Date.now()
  if (now !== textMs) {
    textMs = now
    text = new Date(now).toISOString()
  }
  return text
}
