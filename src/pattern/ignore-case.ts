/**
 * Comparison that ignores case, character by character, as event-ruler defines it: a character of the pattern matches
 * its lower-case and its upper-case form, each of which may have several characters.
 *
 * So `ß` in a pattern matches `ß` and `SS`, `É` and `é` match each other, the Kelvin sign matches `k`, and `İ` does not
 * match `i`. The relation is not symmetric between pattern and value.
 */

const ASCII = /^[\0-\x7f]*$/

/** The two forms of one character of a pattern. They are equal if the character has no case. */
interface CharForms {
  readonly lower: string
  readonly upper: string
}

export interface FoldedText {
  readonly forms: readonly CharForms[]
  /** `foldKey` of the text. Every value that matches the text has the same key. */
  readonly key: string
}

function foldChar(char: string): string {
  return char.toLowerCase().toUpperCase().toLowerCase()
}

/**
 * A key that is equal for all values that a folded text can match. It is made character by character: the key of
 * `a + b` is the key of `a` followed by the key of `b`, if the cut is not inside a character (a surrogate pair).
 */
export function foldKey(text: string): string {
  if (ASCII.test(text)) return text.toLowerCase()
  let key = ''
  for (const char of text) key += foldChar(char)
  return key
}

/** Prepare the text of a pattern. */
export function foldText(text: string): FoldedText {
  const forms = Array.from(text, (char): CharForms => ({ lower: char.toLowerCase(), upper: char.toUpperCase() }))
  return { forms, key: forms.map((form) => foldKey(form.lower)).join('') }
}

/**
 * The positions in `value` at which a match that starts at `from` can end. There are several if the forms differ in
 * length.
 */
function ends(folded: FoldedText, value: string, from: number): ReadonlySet<number> {
  let positions = new Set([from])
  for (const { lower, upper } of folded.forms) {
    const next = new Set<number>()
    for (const position of positions) {
      if (value.startsWith(lower, position)) next.add(position + lower.length)
      if (value.startsWith(upper, position)) next.add(position + upper.length)
    }
    if (next.size === 0) return next
    positions = next
  }
  return positions
}

export function equalsIgnoreCase(folded: FoldedText, value: string): boolean {
  if (ASCII.test(value) && folded.key.length === folded.forms.length)
    return value.length === folded.key.length && matchesSimple(folded, value, 0)
  return ends(folded, value, 0).has(value.length)
}

export function startsWithIgnoreCase(folded: FoldedText, value: string): boolean {
  return ends(folded, value, 0).size > 0
}

export function endsWithIgnoreCase(folded: FoldedText, value: string): boolean {
  const longest = folded.forms.reduce((sum, form) => sum + Math.max(form.lower.length, form.upper.length), 0)
  const shortest = folded.forms.reduce((sum, form) => sum + Math.min(form.lower.length, form.upper.length), 0)
  for (let from = Math.max(0, value.length - longest); from <= value.length - shortest; from++) {
    if (ends(folded, value, from).has(value.length)) return true
  }
  return false
}

/** Compares one character of the value with each of the pattern's. */
function matchesSimple(folded: FoldedText, value: string, from: number): boolean {
  for (let at = 0; at < folded.forms.length; at++) {
    const form = folded.forms[at] as CharForms
    const char = value[from + at]
    if (char !== form.lower && char !== form.upper) return false
  }
  return true
}
