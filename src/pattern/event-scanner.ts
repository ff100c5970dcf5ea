/**
 * Fills `EventFields` from an event's JSON text, in one pass over its bytes. It descends only into fields that patterns
 * name, and skips everything else without building objects.
 *
 * Skipped parts are not validated: the text is assumed to be JSON, as everything in a channel is. Malformed text is
 * refused only in the parts that are read.
 *
 * Three cases do not work in one pass: an object with a named key twice (the last one counts), a named key with
 * escapes, and a named key with dots. The scanner then returns `false`, and the caller parses the text into a tree
 * instead.
 *
 * The bytes must be followed by two quotes, so that a string always ends and the loops need no check for the end of the
 * text.
 */

import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { type EventFields, KIND, type Kind } from './event-fields.ts'
import { nodeOfDottedKey } from './event-walker.ts'
import type { PathNode } from './path-tree.ts'

const DEPTH_MAX = LIMITS.dataDepthMax * 2

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const BACKSLASH = 0x5c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

function table(bytes: readonly number[]): Uint8Array {
  const marks = new Uint8Array(256)
  for (const byte of bytes) marks[byte] = 1
  return marks
}

/** The bytes in a key that need attention: its end, an escape, a dot. */
const IN_KEY = table([QUOTE, BACKSLASH, 0x2e])
/** The bytes that end a number or literal. */
const AFTER_BARE = table([COMMA, CLOSE_BRACE, CLOSE_BRACKET, QUOTE, ...Array.from({ length: 0x21 }, (_, byte) => byte)])

/** With more branches than this, the check whether the rest of the text can be skipped is not worth its cost. */
const STOP_BRANCHES_MAX = 6

/** The number of objects over all events, so that `PathNode.seenIn` never needs a reset. */
let objects = 0

export class EventScanner {
  readonly #fields: EventFields
  #bytes: Buffer = Buffer.alloc(0)
  #chars = ''
  #end = 0
  #irregular = false
  /**
   * How many branches of the tree have not been seen in this event. At zero, the rest of the text may be irrelevant.
   */
  #unseen = 0
  #arrays = 0
  #root: PathNode | null = null
  /** The number of the last object of the previous event. */
  #before = 0
  #stopped = false

  constructor(fields: EventFields) {
    this.#fields = fields
  }

  /**
   * Collect the values of the fields below `root`. Returns `false` when the text needs a tree.
   * @param bytes the text, followed by two quotes
   * @param chars the text with one character for each byte
   * @throws INVALID_EVENT when the text is not a JSON object
   */
  scan(bytes: Buffer, end: number, chars: string, root: PathNode): boolean {
    this.#fields.beginText(bytes, chars)
    this.#chars = chars
    this.#root = root
    this.#before = objects
    this.#stopped = false
    this.#arrays = 0
    this.#unseen = root.branches <= STOP_BRANCHES_MAX ? root.branches : -1
    this.#bytes = bytes
    this.#end = end
    this.#irregular = false
    const start = this.#skipSpace(0)
    if (bytes[start] !== OPEN_BRACE || start >= end) return this.#fail(start, 'an event is a JSON object')
    this.#object(start, root, 0, 0)
    return !this.#irregular
  }

  #fail(at: number, reason: string): never {
    throw new MillraceError(
      'INVALID_EVENT',
      `the event's text is not valid JSON at byte ${Math.min(at, this.#end)}: ${reason}`,
      { at },
    )
  }

  #skipSpace(from: number): number {
    const bytes = this.#bytes
    let at = from
    for (
      let byte = bytes[at] as number;
      byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
      byte = bytes[++at] as number
    );
    return at
  }

  /** Scan an object. Returns the position after its closing brace. */
  #object(open: number, node: PathNode, element: number, depth: number): number {
    if (depth > DEPTH_MAX) this.#fail(open, `it nests deeper than ${DEPTH_MAX} levels`)
    const bytes = this.#bytes
    const end = this.#end
    const object = ++objects
    let at = this.#skipSpace(open + 1)
    if (bytes[at] === CLOSE_BRACE) return at + 1
    for (;;) {
      if (bytes[at] !== QUOTE) this.#fail(at, 'a key is expected')
      const start = ++at
      let unusual = false
      for (;;) {
        while (IN_KEY[bytes[at] as number] === 0) at++
        const byte = bytes[at]
        if (byte === QUOTE) break
        unusual = true
        at += byte === BACKSLASH ? 2 : 1
        if (at >= end) break
      }
      if (at >= end) this.#fail(start, 'a key does not end')
      const child = node.find(bytes, start, at)
      if (child !== null) {
        if (child.seenIn === object) this.#irregular = true
        else if (child.seenIn <= this.#before) this.#unseen--
        child.seenIn = object
      } else if (unusual && this.#isNamed(node, start, at)) {
        this.#irregular = true
      }
      at++
      if (bytes[at] !== COLON) {
        at = this.#skipSpace(at)
        if (bytes[at] !== COLON) this.#fail(at, 'a colon is expected')
      }
      at++
      if ((bytes[at] as number) <= 0x20) at = this.#skipSpace(at)
      if (child === null) {
        at = this.#skipValue(at)
      } else {
        at = this.#value(at, child, element, depth)
        if (this.#stopped || (this.#unseen === 0 && this.#arrays === 0 && this.#mayStop(at))) return at
      }
      if ((bytes[at] as number) <= 0x20) at = this.#skipSpace(at)
      const next = bytes[at]
      if (at >= end) this.#fail(at, 'it ends within an object')
      at++
      if (next === COMMA) {
        if ((bytes[at] as number) <= 0x20) at = this.#skipSpace(at)
        continue
      }
      if (next === CLOSE_BRACE) return at
      this.#fail(at - 1, 'a comma or the end of the object is expected')
    }
  }

  /**
   * Whether the rest of the text is irrelevant because every named field has been seen: it contains no name, not even
   * as another string, and no escape that could encode one. Checked once per event.
   */
  #mayStop(at: number): boolean {
    this.#unseen = -1
    const chars = this.#chars
    for (const trace of (this.#root as PathNode).traces) if (chars.indexOf(trace, at) >= 0) return false
    this.#stopped = chars.indexOf('\\', at) < 0
    return this.#stopped
  }

  /** Whether a key with escapes or dots means a field that patterns name. */
  #isNamed(node: PathNode, start: number, end: number): boolean {
    let key: string
    try {
      key = JSON.parse(this.#bytes.toString('utf8', start - 1, end + 1)) as string
    } catch {
      return this.#fail(start, 'a key is malformed')
    }
    return node.children.has(key) || (key.includes('.') && nodeOfDottedKey(node, key) !== undefined)
  }

  #value(at: number, node: PathNode, element: number, depth: number): number {
    switch (this.#bytes[at]) {
      case OPEN_BRACE:
        return node.children.size === 0 ? this.#skipNested(at) : this.#object(at, node, element, depth + 1)
      case OPEN_BRACKET:
        return this.#array(at, node, element, depth + 1)
      default:
        return this.#scalar(at, node, element)
    }
  }

  #array(open: number, node: PathNode, parent: number, depth: number): number {
    if (depth > DEPTH_MAX) this.#fail(open, `it nests deeper than ${DEPTH_MAX} levels`)
    const bytes = this.#bytes
    const fields = this.#fields
    let at = this.#skipSpace(open + 1)
    if (bytes[at] === CLOSE_BRACKET) return at + 1
    const array = fields.openArray(node)
    this.#arrays++
    for (;;) {
      const byte = bytes[at]
      if (byte === OPEN_BRACE && node.children.size === 0) {
        at = this.#skipNested(at)
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        const element = fields.openElement(array, parent)
        at =
          byte === OPEN_BRACE ? this.#object(at, node, element, depth + 1) : this.#array(at, node, element, depth + 1)
        fields.closeElement(element)
      } else {
        at = this.#scalar(at, node, parent)
      }
      if ((bytes[at] as number) <= 0x20) at = this.#skipSpace(at)
      const next = bytes[at]
      if (at >= this.#end) this.#fail(at, 'it ends within an array')
      at++
      if (next === CLOSE_BRACKET) break
      if (next !== COMMA) this.#fail(at - 1, 'a comma or the end of the array is expected')
      if ((bytes[at] as number) <= 0x20) at = this.#skipSpace(at)
    }
    this.#arrays--
    fields.closeArray(array)
    return at
  }

  /** Scan a string, number or literal, and record it if a pattern has alternatives here. */
  #scalar(at: number, node: PathNode, element: number): number {
    if (this.#bytes[at] === QUOTE) return this.#string(at, node, element)
    const end = this.#skipBare(at)
    if (node.uses > 0) this.#fields.addRange(node, element, this.#bareKind(at, end), at, end)
    return end
  }

  #string(open: number, node: PathNode, element: number): number {
    const bytes = this.#bytes
    let seen = 0
    let at = open + 1
    for (let byte = bytes[at] as number; byte !== QUOTE; byte = bytes[++at] as number) {
      // A backslash is treated like a byte beyond ASCII: in both cases the string must be decoded.
      if (byte === BACKSLASH) {
        seen = 0x80
        at++
        if (at >= this.#end) break
      }
      seen |= byte
    }
    if (at >= this.#end) this.#fail(open, 'a string does not end')
    if (node.uses > 0) this.#fields.addRange(node, element, seen >= 0x80 ? KIND.encoded : KIND.string, open + 1, at)
    return at + 1
  }

  #bareKind(at: number, end: number): Kind {
    const first = this.#bytes[at] as number
    if (first === 0x2d || (first >= 0x30 && first <= 0x39)) return KIND.number
    if (first === 0x74 && end === at + 4) return KIND.true
    if (first === 0x66 && end === at + 5) return KIND.false
    if (first === 0x6e && end === at + 4) return KIND.null
    return this.#fail(at, 'a value is expected')
  }

  #skipValue(at: number): number {
    const byte = this.#bytes[at]
    if (byte === QUOTE) return this.#skipString(at)
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) return this.#skipNested(at)
    return this.#skipBare(at)
  }

  /** Skip a string. Returns the position after its closing quote. */
  #skipString(open: number): number {
    const bytes = this.#bytes
    const end = this.#end
    let at = open + 1
    for (let byte = bytes[at]; byte !== QUOTE && at < end; byte = bytes[at]) at += byte === BACKSLASH ? 2 : 1
    if (at >= end) this.#fail(open, 'a string does not end')
    return at + 1
  }

  #skipBare(start: number): number {
    const bytes = this.#bytes
    let at = start
    while (AFTER_BARE[bytes[at] as number] === 0) at++
    if (at === start || at > this.#end) this.#fail(start, 'a value is expected')
    return at
  }

  /** Skip an object or array. Returns the position after its end. */
  #skipNested(open: number): number {
    const bytes = this.#bytes
    const end = this.#end
    let depth = 0
    let at = open
    while (at < end) {
      const byte = bytes[at++] as number
      if (byte === QUOTE) {
        for (let inner = bytes[at++]; inner !== QUOTE; inner = bytes[at++]) {
          if (inner === BACKSLASH && ++at >= end) break
        }
      } else if (byte >= OPEN_BRACKET) {
        // Brackets and braces differ in one bit: 0x5b and 0x7b open, 0x5d and 0x7d close.
        if ((byte | 0x20) === OPEN_BRACE) depth++
        else if ((byte | 0x20) === CLOSE_BRACE && --depth === 0) return at
      }
    }
    return this.#fail(open, 'it does not end')
  }
}
