/**
 * LIKE: `%` matches any characters, `_` matches one, `\%` and `\_` match themselves, and so does everything else (spec
 * 3.4.3).
 *
 * The pattern is split at its `%`. The first and the last part are compared at the ends of the text. Each part in
 * between is matched at the first possible position, which is always correct, so there is no backtracking. Time: the
 * text's length, times the longest part's length divided by 31.
 */
import { codePointsOf } from './code-points.ts'

const PERCENT = 0x25
const UNDERSCORE = 0x5f
const BACKSLASH = 0x5c
/** In a part: any one character. */
const ANY = -1
/** The bits used of a word. The sign bit stays unused. */
const BITS = 31
/** Up to this length, plain parts are found with `indexOf`, whose worst case is the product of the lengths. */
const PLAIN_SEARCH_MAX = 32

export type LikeTest = (text: string) => boolean

export function likeMatcher(pattern: string): LikeTest {
  const parts = partsOf(pattern)
  const plain =
    parts.every((part) => !part.includes(ANY)) && parts.slice(1, -1).every((part) => part.length <= PLAIN_SEARCH_MAX)
  return plain ? plainMatcher(parts.map((part) => String.fromCodePoint(...part))) : pointsMatcher(parts)
}

/** The pattern's code points between its `%`, with `ANY` for `_`. */
function partsOf(pattern: string): number[][] {
  const parts: number[][] = [[]]
  const points = codePointsOf(pattern)
  for (let at = 0; at < points.length; at++) {
    const next = points[at + 1]
    const part = parts.at(-1) as number[]
    if (points[at] === BACKSLASH && (next === PERCENT || next === UNDERSCORE)) part.push(points[++at] as number)
    else if (points[at] === PERCENT) parts.push([])
    else part.push(points[at] === UNDERSCORE ? ANY : (points[at] as number))
  }
  // An empty part between two `%` has no effect.
  return parts.filter((part, index) => index === 0 || index === parts.length - 1 || part.length > 0)
}

function plainMatcher(parts: readonly string[]): LikeTest {
  const [first = '', ...rest] = parts
  const last = rest.pop()
  if (last === undefined) return (text) => text === first
  const ends = first.length + last.length
  if (rest.length === 0) return (text) => text.length >= ends && text.startsWith(first) && text.endsWith(last)
  return (text) => {
    if (text.length < ends || !text.startsWith(first) || !text.endsWith(last)) return false
    let at = first.length
    for (const part of rest) {
      const found = text.indexOf(part, at)
      if (found < 0) return false
      at = found + part.length
    }
    return at <= text.length - last.length
  }
}

function pointsMatcher(parts: readonly number[][]): LikeTest {
  const [first = [], ...rest] = parts
  const last = rest.pop()
  if (last === undefined) return (text) => isWhole(codePointsOf(text), first)
  const finders = rest.map(finderOf)
  return (text) => {
    const points = codePointsOf(text)
    const end = points.length - last.length
    if (end < first.length || !isAt(points, 0, first) || !isAt(points, end, last)) return false
    let at = first.length
    for (const find of finders) {
      at = find(points, at, end)
      if (at < 0) return false
    }
    return true
  }
}

function isWhole(points: readonly number[], part: readonly number[]): boolean {
  return points.length === part.length && isAt(points, 0, part)
}

function isAt(points: readonly number[], at: number, part: readonly number[]): boolean {
  if (at + part.length > points.length) return false
  for (let index = 0; index < part.length; index++) {
    if (part[index] !== ANY && part[index] !== points[at + index]) return false
  }
  return true
}

/** The end of the part's first occurrence in `points[from, to)`; -1 if there is none. */
type Finder = (points: readonly number[], from: number, to: number) => number

/**
 * The shift-and algorithm: bit i of the state means that the part's first i + 1 elements match up to here. The mask of
 * a character has the bits of the elements that it satisfies. So one step is a shift and an `&` for every 31 elements.
 */
function finderOf(part: readonly number[]): Finder {
  const words = Math.ceil(part.length / BITS)
  const anyMask = maskOf(part, words, (element) => element === ANY)
  const masks = new Map(
    [...new Set(part)].map((point) => [point, maskOf(part, words, (element) => element === point || element === ANY)]),
  )
  const lastWord = words - 1
  const lastBit = 1 << ((part.length - 1) % BITS)
  return (points, from, to) => {
    const state = new Int32Array(words)
    for (let at = from; at < to; at++) {
      const mask = masks.get(points[at] as number) ?? anyMask
      let carry = 1
      for (let word = 0; word < words; word++) {
        const before = state[word] as number
        state[word] = ((before << 1) | carry) & (mask[word] as number)
        carry = (before >>> (BITS - 1)) & 1
      }
      if (((state[lastWord] as number) & lastBit) !== 0) return at + 1
    }
    return -1
  }
}

function maskOf(part: readonly number[], words: number, fits: (element: number) => boolean): Int32Array {
  const mask = new Int32Array(words)
  for (const [index, element] of part.entries()) {
    const word = Math.floor(index / BITS)
    if (fits(element)) mask[word] = (mask[word] as number) | (1 << (index % BITS))
  }
  return mask
}
