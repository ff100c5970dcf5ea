/**
 * The values of one figure by slot, for a fixed number of the newest slots. A slot that is not set has zero.
 *
 * Values are kept in chunks of `CHUNK` slots, two bytes each, in a logarithmic code: a whole number up to 1,000 is
 * exact, and any other value is within 0.07 %. A sealed chunk whose recorded values are all equal is one number, and
 * one of zeros is nothing.
 */
export const CHUNK = 360

/** The binary logarithm of the smallest value that is not zero, and how many codes there are for each doubling. */
const LOWEST = -10
const PER_DOUBLING = 65_534 / 54

export function encode(value: number): number {
  if (!(value > 0)) return 0
  return 1 + Math.min(65_534, Math.max(0, Math.round((Math.log2(value) - LOWEST) * PER_DOUBLING)))
}

export function decode(code: number): number {
  if (code === 0) return 0
  const value = 2 ** ((code - 1) / PER_DOUBLING + LOWEST)
  const whole = Math.round(value)
  return whole > 0 && Math.abs(value - whole) < value * 0.0004 ? whole : value
}

export function chunkOf(slot: number): number {
  return Math.floor(slot / CHUNK)
}

export class Ring {
  /** By number of the chunk: its values, or the code that all its recorded slots have. */
  readonly #chunks = new Map<number, Uint16Array | number>()

  get(slot: number): number {
    const chunk = this.#chunks.get(chunkOf(slot))
    if (chunk === undefined) return 0
    return decode(typeof chunk === 'number' ? chunk : (chunk[slot % CHUNK] as number))
  }

  /** Zero needs to be set only in a chunk that was sealed before. */
  set(slot: number, value: number): void {
    const number = chunkOf(slot)
    const code = encode(value)
    const chunk = this.#chunks.get(number) ?? 0
    if (chunk === code && code === 0) return
    const values = typeof chunk === 'number' ? new Uint16Array(CHUNK).fill(chunk) : chunk
    values[slot % CHUNK] = code
    this.#chunks.set(number, values)
  }

  /** No further slot of the chunk is expected. `recorded` are the slots of it that were recorded. */
  seal(number: number, recorded: readonly number[]): void {
    const chunk = this.#chunks.get(number)
    if (chunk === undefined || typeof chunk === 'number') return
    const code = chunk[(recorded[0] ?? 0) % CHUNK] as number
    if (!recorded.every((slot) => chunk[slot % CHUNK] === code)) return
    if (code === 0) this.#chunks.delete(number)
    else this.#chunks.set(number, code)
  }

  /** Forget the chunks before this one. */
  keepFrom(chunk: number): void {
    for (const number of this.#chunks.keys()) if (number < chunk) this.#chunks.delete(number)
  }

  /** Forget the slots from this one on. */
  cut(slot: number): void {
    for (const [number, chunk] of this.#chunks) {
      if (number > chunkOf(slot)) this.#chunks.delete(number)
      else if (number === chunkOf(slot)) {
        const values = typeof chunk === 'number' ? new Uint16Array(CHUNK).fill(chunk) : chunk
        this.#chunks.set(number, values.fill(0, slot % CHUNK))
      }
    }
  }

  /** The bytes that the values take. */
  get bytes(): number {
    let bytes = 0
    for (const chunk of this.#chunks.values()) bytes += typeof chunk === 'number' ? 8 : chunk.byteLength
    return bytes
  }
}
