/**
 * Ids and times of new events. Ids are UUID version 7 (RFC 9562): they sort by creation within a process.
 *
 * Written here rather than taken from the `uuid` package, whose v7 costs more than the whole rest of publishing an
 * event (4.5 µs against 0.3 µs, measured side by side on Node 20).
 */
import { randomFillSync } from 'node:crypto'

/**
 * The last 17 characters of an id (variant and random part) are made for this many ids at a time, as one text that is
 * sliced.
 */
const TAILS = 256
const TAIL_CHARS = 17
const DIGITS = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0))
const DASH = 0x2d

/** The version and the counter, for each value of the counter. */
const COUNTERS: readonly string[] = Array.from({ length: 4096 }, (_, counter) => `${(0x7000 | counter).toString(16)}-`)
const random = new Uint8Array(TAILS * 8)
const tailBytes = Buffer.allocUnsafeSlow(TAILS * TAIL_CHARS)
let tails = ''
let tail = TAILS
let lastMs = 0
let counter = 0
let prefix = ''
let newest: string | null = null

function makeTails(): void {
  randomFillSync(random)
  for (let from = 0, to = 0; from < random.length; from += 8, to += TAIL_CHARS) {
    const first = random[from] as number
    // Two bits of variant, and 62 random ones.
    putHex((first & 0x3f) | 0x80, to)
    putHex(random[from + 1] as number, to + 2)
    tailBytes[to + 4] = DASH
    for (let byte = 2; byte < 8; byte++) putHex(random[from + byte] as number, to + 1 + 2 * byte)
  }
  tails = tailBytes.toString('latin1')
  tail = 0
}

function putHex(byte: number, at: number): void {
  tailBytes[at] = DIGITS[byte >>> 4] as number
  tailBytes[at + 1] = DIGITS[byte & 15] as number
}

function setMillisecond(ms: number, firstCounter: number): void {
  lastMs = ms
  counter = firstCounter
  const text = ms.toString(16).padStart(12, '0')
  prefix = `${text.slice(0, 8)}-${text.slice(8)}-`
}

/**
 * A new UUID version 7: 48 bits of milliseconds, a 12-bit counter, 62 random bits. Always increasing within a process.
 */
export function newId(now: number = Date.now()): string {
  if (tail === TAILS) makeTails()
  if (now > lastMs) setMillisecond(now, Math.floor(Math.random() * 2048))
  else if (counter < 0xfff) counter++
  else setMillisecond(lastMs + 1, 0)
  const at = TAIL_CHARS * tail++
  const id = prefix + (COUNTERS[counter] as string) + tails.slice(at, at + TAIL_CHARS)
  newest = id
  return id
}

/** Whether it is the id that was made last: that one is known to need no escaping in JSON. */
export function isNewest(id: string): boolean {
  return id === newest
}

let textMs = -1
let text = ''

/** The current time in RFC 3339, to the millisecond. */
export function nowText(now: number = Date.now()): string {
  if (now !== textMs) {
    textMs = now
    text = new Date(now).toISOString()
  }
  return text
}
