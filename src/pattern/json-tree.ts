/**
 * Parses JSON text to a tree that keeps numbers as they were written: for patterns given as text, and for the rare
 * events that the scanner cannot read in one pass. The last of several equal keys wins. Objects have no prototype, so
 * every key is an ordinary one.
 */
import { LIMITS } from '../base/limits.ts'
import { parseNumber } from './number-text.ts'

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const SPACE = /[ \t\n\r]*/y

interface Reader {
  readonly text: string
  at: number
  readonly fail: (reason: string) => never
}

/** The deepest nesting that is accepted. */
const DEPTH_MAX = LIMITS.dataDepthMax * 2

/**
 * Read JSON text.
 * @param fail is called with the reason, and throws, when the text is not JSON
 */
export function parseJson(text: string, fail: (reason: string) => never): unknown {
  const reader: Reader = { text, at: 0, fail }
  const value = readValue(reader, 0)
  skipSpace(reader)
  return reader.at === text.length ? value : unexpected(reader)
}

function unexpected(reader: Reader): never {
  const found =
    reader.at < reader.text.length ? `unexpected ${JSON.stringify(reader.text[reader.at])}` : 'unexpected end'
  return reader.fail(`${found} at character ${reader.at}`)
}

function skipSpace(reader: Reader): void {
  SPACE.lastIndex = reader.at
  SPACE.exec(reader.text)
  reader.at = SPACE.lastIndex
}

function take(reader: Reader, char: string): boolean {
  skipSpace(reader)
  if (reader.text[reader.at] !== char) return false
  reader.at++
  return true
}

function readValue(reader: Reader, depth: number): unknown {
  if (depth > DEPTH_MAX) return reader.fail(`it nests deeper than ${DEPTH_MAX} levels`)
  if (take(reader, '{')) return readObject(reader, depth)
  if (take(reader, '[')) return readArray(reader, depth)
  if (reader.text[reader.at] === '"') return readString(reader)
  for (const [word, value] of [
    ['true', true],
    ['false', false],
    ['null', null],
  ] as const) {
    if (reader.text.startsWith(word, reader.at)) {
      reader.at += word.length
      return value
    }
  }
  NUMBER.lastIndex = reader.at
  const number = NUMBER.exec(reader.text)
  if (number === null) return unexpected(reader)
  reader.at = NUMBER.lastIndex
  return parseNumber(number[0])
}

function readString(reader: Reader): string {
  const start = reader.at
  let at = start + 1
  for (;;) {
    const char = reader.text[at]
    if (char === undefined) return reader.fail(`the string at character ${start} does not end`)
    if (char === '"') break
    at += char === '\\' ? 2 : 1
  }
  reader.at = at + 1
  try {
    return JSON.parse(reader.text.slice(start, at + 1)) as string
  } catch {
    return reader.fail(`the string at character ${start} is malformed`)
  }
}

function readObject(reader: Reader, depth: number): Record<string, unknown> {
  const object: Record<string, unknown> = Object.create(null) as Record<string, unknown>
  if (take(reader, '}')) return object
  do {
    skipSpace(reader)
    if (reader.text[reader.at] !== '"') return unexpected(reader)
    const key = readString(reader)
    if (!take(reader, ':')) return unexpected(reader)
    object[key] = readValue(reader, depth + 1)
  } while (take(reader, ','))
  return take(reader, '}') ? object : unexpected(reader)
}

function readArray(reader: Reader, depth: number): unknown[] {
  const array: unknown[] = []
  if (take(reader, ']')) return array
  do array.push(readValue(reader, depth + 1))
  while (take(reader, ','))
  return take(reader, ']') ? array : unexpected(reader)
}
