/** Masked values where other texts about an event quote them: errors, keys, attributes. */

/** Shorter values are masked only where a text is nothing but the value: every text has them by chance. */
const QUOTED_MIN = 3
/** An error message may quote only the beginning of a long value. */
const BEGINNING = 8

/** Values as errors quote them: what they begin with, and how they can go on. */
export type QuotedValues = ReadonlyMap<string, readonly string[]>

/** The values as they are, as JSON, and in a URL; those with the longest beginning first. */
export function quotedValues(values: Iterable<string>): QuotedValues {
  const all = new Set<string>()
  for (const value of values) all.add(value).add(JSON.stringify(value).slice(1, -1)).add(inUrl(value))
  const found = new Map<string, string[]>()
  for (const value of [...all].sort((a, b) => b.length - a.length)) {
    const beginning = value.slice(0, BEGINNING)
    const known = found.get(beginning)
    if (known === undefined) found.set(beginning, [value.slice(BEGINNING)])
    else known.push(value.slice(BEGINNING))
  }
  return found
}

function inUrl(value: string): string {
  try {
    return encodeURIComponent(value)
  } catch {
    // It has half of a character, which no URL can have.
    return value
  }
}

/** The text with the mask where it quotes a value. */
export function redacted(text: string, values: QuotedValues, mask: string): string {
  if (values.get(text.slice(0, BEGINNING))?.includes(text.slice(BEGINNING)) === true) return mask
  let result = text
  for (const [beginning, rests] of values) {
    if (beginning.length < QUOTED_MIN) continue
    const [head = '', ...parts] = result.split(beginning)
    // What follows the beginning is part of a value as far as it is the same.
    const shared = (part: string): number => Math.max(...rests.map((rest) => sharedLength(part, rest)))
    result = head + parts.map((part) => mask + part.slice(shared(part))).join('')
  }
  return result
}

function sharedLength(a: string, b: string): number {
  let length = 0
  while (length < b.length && a[length] === b[length]) length++
  return length
}

/** Whether an attribute contains one of the values, a short one only as a word: `users/Ann`, not `Annual`. */
export function contains(attribute: string, values: Iterable<string>): boolean {
  for (const value of values) {
    if (value.length < QUOTED_MIN) continue
    const part = value.slice(0, BEGINNING)
    for (let at = attribute.indexOf(part); at !== -1; at = attribute.indexOf(part, at + 1))
      if (part.length === BEGINNING || (isEdge(attribute[at - 1]) && isEdge(attribute[at + part.length]))) return true
  }
  return false
}

function isEdge(char: string | undefined): boolean {
  return char === undefined || !/[\p{L}\p{N}]/u.test(char)
}
