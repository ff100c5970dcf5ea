/**
 * Wildcards: `*` matches any characters, `\*` an asterisk, `\\` a backslash.
 *
 * Matching takes the leftmost position of each literal part in turn, so it never backtracks. The number of `*` in one
 * wildcard is limited nevertheless, as on AWS.
 */
import { LIMITS } from '../base/limits.ts'

export interface Wildcard {
  /** The literal parts between the asterisks. A single part means that there is no asterisk. */
  readonly parts: readonly string[]
}

function readEscape(text: string, at: number): string | null {
  const next = text[at + 1]
  return next === '*' || next === '\\' ? next : null
}

/** Parse a wildcard. A string is the reason why it is malformed. */
export function parseWildcard(text: string): Wildcard | string {
  const parts: string[] = []
  let part = ''
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === '*') {
      if (text[at + 1] === '*') return `"**" at character ${at}: write one "*", or "\\*" for an asterisk itself`
      parts.push(part)
      part = ''
    } else if (char === '\\') {
      const escaped = readEscape(text, at)
      if (escaped === null) return `a backslash at character ${at} must be followed by "*" or by another backslash`
      part += escaped
      at++
    } else {
      part += char
    }
  }
  parts.push(part)
  const stars = parts.length - 1
  if (stars > LIMITS.patternWildcardStarsMax) {
    return `too complex: it has ${stars} "*" where ${LIMITS.patternWildcardStarsMax} are allowed; use fewer, or split it into several patterns`
  }
  return { parts }
}

export function matchesWildcard({ parts }: Wildcard, value: string): boolean {
  const first = parts[0] as string
  if (parts.length === 1) return value === first
  const last = parts[parts.length - 1] as string
  if (value.length < first.length + last.length || !value.startsWith(first) || !value.endsWith(last)) return false
  const end = value.length - last.length
  let from = first.length
  for (let index = 1; index < parts.length - 1; index++) {
    const part = parts[index] as string
    const found = value.indexOf(part, from)
    if (found < 0) return false
    from = found + part.length
  }
  return from <= end
}
