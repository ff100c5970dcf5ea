/**
 * The values of one event's fields that patterns name, in the order of the event, with the array elements that contain
 * them.
 *
 * One instance is reused for every event and allocates no objects: its columns grow to the largest event seen. Values
 * of an event's text stay bytes until a matcher needs the string or the number.
 *
 * An *element* is an object or array inside an array; element 0 is the event itself. A scalar in an array belongs to
 * the element around that array, because only objects and arrays bind two fields to one element.
 */
import { MillraceError } from '../base/errors.ts'
import type { MatchableValue } from './matcher.ts'
import { isComparable } from './number-text.ts'
import type { PathNode } from './path-tree.ts'

/** An `encoded` string has escapes or characters beyond ASCII. */
export const KIND = { string: 0, encoded: 1, number: 2, true: 3, false: 4, null: 5 } as const
export type Kind = (typeof KIND)[keyof typeof KIND]

const UNKNOWN = 0
const COMPARABLE = 1
const NOT_COMPARABLE = 2
/** The number is parsed, and so long that the double may not be exact. */
const UNCHECKED = 3

const EMPTY = Buffer.alloc(0)

/** The number of digits before and after the point that `roughly` reads. */
const ROUGH_DIGITS = 9
/** More than the relative rounding error of a division and an addition. */
const ROUNDING = 1e-15

/** The initial number of rows of each column. */
const ROWS = 64

function larger(column: Int32Array): Int32Array {
  const grown = new Int32Array(column.length * 2)
  grown.set(column)
  return grown
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= 0x30 && byte <= 0x39
}

export class EventFields {
  /** The number of the current event. A node's values belong to this event if its stamp is equal. */
  stamp = 0
  count = 0
  elementCount = 1
  arrayCount = 0
  /** The node of each value. */
  readonly nodes: PathNode[] = []
  /** The element that contains each value. */
  elements: Int32Array = new Int32Array(ROWS)
  /** For each element: the element around its array, its array, and the range of the values inside it. */
  elementParent: Int32Array = new Int32Array(ROWS)
  elementArray: Int32Array = new Int32Array(ROWS)
  elementFirst: Int32Array = new Int32Array(ROWS)
  elementEnd: Int32Array = new Int32Array(ROWS)
  /** For each array: its field, and the range of the values inside it. */
  readonly arrayNode: PathNode[] = []
  arrayFirst: Int32Array = new Int32Array(ROWS)
  arrayEnd: Int32Array = new Int32Array(ROWS)

  #kinds: Int32Array = new Int32Array(ROWS)
  #starts: Int32Array = new Int32Array(ROWS)
  #ends: Int32Array = new Int32Array(ROWS)
  #exactness: Int32Array = new Int32Array(ROWS)
  #numbers: Float64Array = new Float64Array(ROWS)
  readonly #texts: (string | undefined)[] = []
  #bytes: Buffer = Buffer.alloc(0)
  #chars = ''
  /** The largest possible difference between the last result of `roughly` and the number. */
  roughError = 0
  readonly #view: ValueView = new ValueView(this)

  /** Begin an event whose values are given directly. */
  begin(): void {
    this.beginText(EMPTY, '')
  }

  /** Begin an event whose values are ranges in `bytes`; `chars` has one character for each byte. */
  beginText(bytes: Buffer, chars: string): void {
    this.stamp++
    this.count = 0
    this.elementCount = 1
    this.arrayCount = 0
    this.#bytes = bytes
    this.#chars = chars
  }

  /** Add a value by its range in the bytes; a string's range is between its quotes. */
  addRange(node: PathNode, element: number, kind: Kind, start: number, end: number): void {
    const index = this.#add(node, element, kind)
    this.#starts[index] = start
    this.#ends[index] = end
    this.#texts[index] = undefined
  }

  addString(node: PathNode, element: number, text: string): void {
    this.#texts[this.#add(node, element, KIND.string)] = text
  }

  /** Add a number; `text` is how it was written, if a double does not hold it exactly. */
  addNumber(node: PathNode, element: number, value: number, text: string | undefined): void {
    const index = this.#add(node, element, KIND.number)
    this.#numbers[index] = value
    this.#exactness[index] = text === undefined ? COMPARABLE : NOT_COMPARABLE
    this.#texts[index] = text
  }

  addLiteral(node: PathNode, element: number, value: boolean | null): void {
    this.#add(node, element, value === null ? KIND.null : value ? KIND.true : KIND.false)
  }

  #add(node: PathNode, element: number, kind: Kind): number {
    const index = this.count++
    if (index === this.#kinds.length) this.#grow()
    this.nodes[index] = node
    this.elements[index] = element
    this.#kinds[index] = kind
    this.#exactness[index] = UNKNOWN
    if (node.stamp !== this.stamp) {
      node.stamp = this.stamp
      node.count = 0
    }
    node.indexes[node.count++] = index
    return index
  }

  #grow(): void {
    this.elements = larger(this.elements)
    this.#kinds = larger(this.#kinds)
    this.#starts = larger(this.#starts)
    this.#ends = larger(this.#ends)
    this.#exactness = larger(this.#exactness)
    const numbers = new Float64Array(this.#numbers.length * 2)
    numbers.set(this.#numbers)
    this.#numbers = numbers
  }

  /** Begin an array at a field. */
  openArray(node: PathNode): number {
    const array = this.arrayCount++
    if (array === this.arrayFirst.length) {
      this.arrayFirst = larger(this.arrayFirst)
      this.arrayEnd = larger(this.arrayEnd)
    }
    this.arrayNode[array] = node
    this.arrayFirst[array] = this.count
    return array
  }

  closeArray(array: number): void {
    this.arrayEnd[array] = this.count
  }

  /** Begin an object or array inside an array. */
  openElement(array: number, parent: number): number {
    const element = this.elementCount++
    if (element === this.elementParent.length) {
      this.elementParent = larger(this.elementParent)
      this.elementArray = larger(this.elementArray)
      this.elementFirst = larger(this.elementFirst)
      this.elementEnd = larger(this.elementEnd)
    }
    this.elementParent[element] = parent
    this.elementArray[element] = array
    this.elementFirst[element] = this.count
    return element
  }

  closeElement(element: number): void {
    this.elementEnd[element] = this.count
  }

  /** How many values the field has in this event. */
  countAt(node: PathNode): number {
    return node.stamp === this.stamp ? node.count : 0
  }

  kindOf(index: number): Kind {
    return this.#kinds[index] as Kind
  }

  /** The string at an index whose value is a string. */
  stringOf(index: number): string {
    const known = this.#texts[index]
    if (known !== undefined) return known
    const start = this.#starts[index] as number
    const end = this.#ends[index] as number
    const text = this.#kinds[index] === KIND.encoded ? this.#decode(start, end) : this.#chars.slice(start, end)
    this.#texts[index] = text
    return text
  }

  #decode(start: number, end: number): string {
    try {
      return JSON.parse(this.#bytes.toString('utf8', start - 1, end + 1)) as string
    } catch (cause) {
      throw new MillraceError(
        'INVALID_EVENT',
        `the event's text is not valid JSON at byte ${start}: a string is malformed`,
        { at: start },
        { cause },
      )
    }
  }

  /** The double nearest to the number at an index. */
  numberOf(index: number): number {
    if (this.#exactness[index] === UNKNOWN) {
      const text = this.#chars.slice(this.#starts[index], this.#ends[index])
      const value = Number(text)
      this.#texts[index] = text
      this.#numbers[index] = value
      this.#exactness[index] = text.length < 15 && Number.isFinite(value) ? COMPARABLE : UNCHECKED
      return value
    }
    return this.#numbers[index] as number
  }

  /**
   * An approximation of the number at an index, read from its first digits. It differs from the written number by at
   * most `roughError`.
   */
  roughly(index: number): number {
    this.roughError = 0
    if (this.#exactness[index] !== UNKNOWN) return this.#numbers[index] as number
    const bytes = this.#bytes
    const end = this.#ends[index] as number
    let at = this.#starts[index] as number
    const negative = bytes[at] === 0x2d
    if (negative) at++
    let whole = 0
    for (const last = at + ROUGH_DIGITS; at < last && isDigit(bytes[at]); at++)
      whole = whole * 10 + (bytes[at] as number) - 0x30
    let fraction = 0
    let scale = 1
    if (bytes[at] === 0x2e) {
      at++
      for (const last = at + ROUGH_DIGITS; at < last && isDigit(bytes[at]); at++) {
        fraction = fraction * 10 + (bytes[at] as number) - 0x30
        scale *= 10
      }
      if (isDigit(bytes[at])) this.roughError = 1 / scale
      while (isDigit(bytes[at])) at++
    }
    if (at !== end) {
      // There are more digits before the point, or an exponent. The nearest double compares with any other double as
      // the number itself does.
      this.roughError = 0
      return this.numberOf(index)
    }
    const value = whole + fraction / scale
    this.roughError += value * ROUNDING
    return negative ? -value : value
  }

  /** Whether a double holds the number at an index exactly as written. */
  isComparable(index: number): boolean {
    const value = this.numberOf(index)
    if (this.#exactness[index] === UNCHECKED) {
      this.#exactness[index] = isComparable(this.#texts[index] as string, value) ? COMPARABLE : NOT_COMPARABLE
    }
    return this.#exactness[index] === COMPARABLE
  }

  /**
   * The text of the number at an index: as it was written if no double has its exact value, otherwise the text of the
   * double.
   */
  numberTextOf(index: number): string {
    return this.#texts[index] ?? String(this.numberOf(index))
  }

  /** The value at an index, valid until the next call. */
  valueAt(index: number): MatchableValue {
    this.#view.index = index
    return this.#view
  }
}

class ValueView implements MatchableValue {
  index = 0
  readonly #fields: EventFields

  constructor(fields: EventFields) {
    this.#fields = fields
  }

  get string(): string | undefined {
    return this.#fields.kindOf(this.index) <= KIND.encoded ? this.#fields.stringOf(this.index) : undefined
  }

  get number(): number {
    return this.#fields.kindOf(this.index) === KIND.number ? this.#fields.numberOf(this.index) : Number.NaN
  }

  get isComparable(): boolean {
    return this.#fields.isComparable(this.index)
  }

  get numberText(): string | undefined {
    return this.#fields.kindOf(this.index) === KIND.number ? this.#fields.numberTextOf(this.index) : undefined
  }

  get literal(): boolean | null | undefined {
    const kind = this.#fields.kindOf(this.index)
    if (kind === KIND.true) return true
    if (kind === KIND.false) return false
    return kind === KIND.null ? null : undefined
  }
}
