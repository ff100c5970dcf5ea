/**
 * Scans a JSON text without building values: whether it is JSON, how deep it is, how many names and values it has.
 *
 * `JSON.parse` of a hostile text takes up to 250 ms a megabyte (an object of 400,000 names; a million empty objects). A
 * scan takes some milliseconds for any text, and stops at a bound. So untrusted text is scanned first, and only the
 * necessary part is parsed.
 */
import { LIMITS } from '../base/limits.ts'

/** Why a text is refused: it is not JSON, or passes a bound. */
export class JsonRefusal extends Error {}

export interface JsonBounds {
  /** Nesting. */
  readonly depthMax: number
  /** Members of all its objects together. */
  readonly namesMax: number
  /** Values, containers included. */
  readonly valuesMax: number
}

/** Bounds of an event's data from an untrusted source. */
export const DATA_BOUNDS: JsonBounds = {
  depthMax: LIMITS.dataDepthMax + 1,
  namesMax: LIMITS.dataNamesMax,
  valuesMax: LIMITS.dataValuesMax,
}

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const [OPEN_OBJECT, CLOSE_OBJECT, OPEN_ARRAY, CLOSE_ARRAY] = [0x7b, 0x7d, 0x5b, 0x5d]

export class JsonScanner {
  readonly text: string
  readonly #bounds: JsonBounds
  #names = 0
  #values = 0

  constructor(text: string, bounds: JsonBounds) {
    this.text = text
    this.#bounds = bounds
  }

  /** Reset the counts: the following text has bounds of its own. */
  reset(): void {
    this.#names = 0
    this.#values = 0
  }

  /** The whole text is one value. @throws JsonRefusal */
  whole(): void {
    this.end(this.value(0))
  }

  /** Only space follows. @throws JsonRefusal */
  end(at: number): void {
    if (this.#space(at) < this.text.length) throw this.#unexpected(this.#space(at))
  }

  /** The index of the first character that is not space. */
  start(): number {
    return this.#space(0)
  }

  /**
   * Visits each member of the object that begins at `from`, with the indexes of its quoted name and of its value.
   * Returns the index after the object. @throws JsonRefusal, and what `member` throws
   */
  object(from: number, member: (nameAt: number, nameEnd: number, valueAt: number, valueEnd: number) => void): number {
    if (this.text.charCodeAt(from) !== OPEN_OBJECT) throw this.#unexpected(from)
    let at = this.#space(from + 1)
    if (this.text.charCodeAt(at) === CLOSE_OBJECT) return at + 1
    for (;;) {
      const nameEnd = this.#string(at)
      const valueAt = this.#space(this.#colon(nameEnd))
      const valueEnd = this.value(valueAt)
      member(at, nameEnd, valueAt, valueEnd)
      at = this.#space(valueEnd)
      if (this.text.charCodeAt(at) === CLOSE_OBJECT) return at + 1
      if (this.text.charCodeAt(at) !== COMMA) throw this.#unexpected(at)
      at = this.#space(at + 1)
    }
  }

  /**
   * Visits each item of the array that begins at `from`: `item` gets its index and returns the index after it. Returns
   * the index after the array. @throws as `object`
   */
  array(from: number, item: (at: number) => number): number {
    if (this.text.charCodeAt(from) !== OPEN_ARRAY) throw this.#unexpected(from)
    let at = this.#space(from + 1)
    if (this.text.charCodeAt(at) === CLOSE_ARRAY) return at + 1
    for (;;) {
      at = this.#space(item(at))
      if (this.text.charCodeAt(at) === CLOSE_ARRAY) return at + 1
      if (this.text.charCodeAt(at) !== COMMA) throw this.#unexpected(at)
      at = this.#space(at + 1)
    }
  }

  /** The index after the value that begins at `from`, or after space there. @throws JsonRefusal */
  value(from: number): number {
    const { text } = this
    /** The closing character of each open container. */
    const open: number[] = []
    let at = from
    for (;;) {
      at = this.#space(at)
      const char = text.charCodeAt(at)
      this.#count()
      if (char === OPEN_OBJECT || char === OPEN_ARRAY) {
        const closing = char + 2
        if (open.length >= this.#bounds.depthMax)
          throw new JsonRefusal(`it is nested deeper than ${this.#bounds.depthMax} levels`)
        at = this.#space(at + 1)
        if (text.charCodeAt(at) === closing) at++
        else {
          open.push(closing)
          if (char === OPEN_OBJECT) at = this.#name(at)
          continue
        }
      } else at = char === QUOTE ? this.#string(at) : this.#scalar(at, char)
      at = this.#behind(at, open)
      if (open.length === 0) return at
    }
  }

  /**
   * After a value: closes containers that end there. Returns where the next value begins or, with none open, the end.
   */
  #behind(from: number, open: number[]): number {
    let at = from
    while (open.length > 0) {
      at = this.#space(at)
      const char = this.text.charCodeAt(at)
      const closing = open[open.length - 1] as number
      if (char === COMMA) return closing === CLOSE_OBJECT ? this.#name(this.#space(at + 1)) : at + 1
      if (char !== closing) throw this.#unexpected(at)
      open.pop()
      at++
    }
    return at
  }

  #count(): void {
    if (++this.#values > this.#bounds.valuesMax)
      throw new JsonRefusal(`it has more than ${this.#bounds.valuesMax} values`)
  }

  #name(at: number): number {
    if (++this.#names > this.#bounds.namesMax)
      throw new JsonRefusal(`its objects have more than ${this.#bounds.namesMax} members`)
    return this.#colon(this.#string(at))
  }

  #colon(from: number): number {
    const at = this.#space(from)
    if (this.text.charCodeAt(at) !== COLON) throw this.#unexpected(at)
    return at + 1
  }

  #space(from: number): number {
    let at = from
    for (let char = this.text.charCodeAt(at); char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09; )
      char = this.text.charCodeAt(++at)
    return at
  }

  #string(from: number): number {
    const { text } = this
    if (text.charCodeAt(from) !== QUOTE) throw this.#unexpected(from)
    for (let at = from + 1; ; at++) {
      const char = text.charCodeAt(at)
      if (char === QUOTE) return at + 1
      if (char === BACKSLASH) at = this.#escape(at + 1)
      // After the end of the text the code is NaN.
      else if (!(char >= 0x20)) throw this.#unexpected(at)
    }
  }

  /** Returns the index of its last character. */
  #escape(at: number): number {
    const char = this.text.charCodeAt(at)
    if (char === 0x75) {
      for (let digit = at + 1; digit <= at + 4; digit++)
        if (!isHex(this.text.charCodeAt(digit))) throw this.#unexpected(digit)
      return at + 4
    }
    // " \ / b f n r t
    if (
      char === QUOTE ||
      char === BACKSLASH ||
      char === 0x2f ||
      char === 0x62 ||
      char === 0x66 ||
      char === 0x6e ||
      char === 0x72 ||
      char === 0x74
    )
      return at
    throw this.#unexpected(at)
  }

  #scalar(at: number, char: number): number {
    if (char === 0x2d || isDigit(char)) return this.#number(at)
    for (const word of ['true', 'false', 'null']) if (this.text.startsWith(word, at)) return at + word.length
    throw this.#unexpected(at)
  }

  #number(from: number): number {
    const { text } = this
    let at = text.charCodeAt(from) === 0x2d ? from + 1 : from
    at = text.charCodeAt(at) === 0x30 ? at + 1 : this.#digits(at)
    if (text.charCodeAt(at) === 0x2e) at = this.#digits(at + 1)
    if ((text.charCodeAt(at) | 0x20) === 0x65) {
      const sign = text.charCodeAt(at + 1)
      at = this.#digits(sign === 0x2b || sign === 0x2d ? at + 2 : at + 1)
    }
    return at
  }

  #digits(from: number): number {
    let at = from
    while (isDigit(this.text.charCodeAt(at))) at++
    if (at === from) throw this.#unexpected(at)
    return at
  }

  #unexpected(at: number): JsonRefusal {
    if (at >= this.text.length) return new JsonRefusal('it ends before it is complete')
    return new JsonRefusal(`${JSON.stringify(this.text.charAt(at))} is unexpected at character ${at}`)
  }
}

function isDigit(char: number): boolean {
  return char >= 0x30 && char <= 0x39
}

function isHex(char: number): boolean {
  return isDigit(char) || ((char | 0x20) >= 0x61 && (char | 0x20) <= 0x66)
}
