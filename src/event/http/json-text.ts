/** Reads JSON as text, without building values. */

/** How deep a JSON text is nested: a bound on what the parser and every later reader must hold. */
export function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  for (let at = 0; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === 0x22) at = stringEnd(text, at)
    else if (char === 0x7b || char === 0x5b) deepest = Math.max(deepest, ++depth)
    else if (char === 0x7d || char === 0x5d) depth--
  }
  return deepest
}

/** The index of the closing quote of the string that begins at `start`, or the end of the text. */
export function stringEnd(text: string, start: number): number {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0
    while (text.charCodeAt(end - 1 - slashes) === 0x5c) slashes++
    if (slashes % 2 === 0) return end
  }
  return text.length
}

/** The texts of an array's items. `text` must be a valid JSON array. */
export function itemTexts(text: string): string[] {
  const items: string[] = []
  for (let at = afterSpace(text, afterSpace(text, 0) + 1); text.charCodeAt(at) !== 0x5d; ) {
    const end = valueEnd(text, at)
    items.push(text.slice(at, end))
    at = afterComma(text, end)
  }
  return items
}

/**
 * The text of a member of an object, the last one if the name occurs several times. `text` must be a valid JSON object.
 */
export function memberText(text: string, name: string): string | undefined {
  const range = memberRange(text, name)
  return range === null ? undefined : text.slice(range.start, range.end)
}

/** The text of an object with the value of a member replaced. It is unchanged if the object has no such member. */
export function withMemberText(text: string, name: string, value: string): string {
  const range = memberRange(text, name)
  return range === null ? text : text.slice(0, range.start) + value + text.slice(range.end)
}

/**
 * The range of a member's value in the text of an object. Top level only; the last member if the name occurs twice.
 */
function memberRange(text: string, name: string): { readonly start: number; readonly end: number } | null {
  let found: { readonly start: number; readonly end: number } | null = null
  for (let at = afterSpace(text, afterSpace(text, 0) + 1); text.charCodeAt(at) !== 0x7d; ) {
    const nameEnd = stringEnd(text, at)
    const start = afterSpace(text, afterSpace(text, nameEnd + 1) + 1)
    const end = valueEnd(text, start)
    if (nameOf(text.slice(at, nameEnd + 1)) === name) found = { start, end }
    at = afterComma(text, end)
  }
  return found
}

/** The name of a JSON member, from its quoted text: quotes are removed, and escapes decoded. */
export function nameOf(quoted: string): string {
  return quoted.includes('\\') ? (JSON.parse(quoted) as string) : quoted.slice(1, -1)
}

function afterComma(text: string, end: number): number {
  const at = afterSpace(text, end)
  return text.charCodeAt(at) === 0x2c ? afterSpace(text, at + 1) : at
}

function afterSpace(text: string, from: number): number {
  let at = from
  while (isSpace(text.charCodeAt(at))) at++
  return at
}

function isSpace(char: number): boolean {
  return char === 0x20 || char === 0x0a || char === 0x0d || char === 0x09
}

/** The index after the value that begins at `start`. */
function valueEnd(text: string, start: number): number {
  const first = text.charCodeAt(start)
  if (first === 0x22) return stringEnd(text, start) + 1
  if (first !== 0x7b && first !== 0x5b) return scalarEnd(text, start)
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const char = text.charCodeAt(at)
    if (char === 0x22) at = stringEnd(text, at)
    else if (char === 0x7b || char === 0x5b) depth++
    else if ((char === 0x7d || char === 0x5d) && --depth === 0) return at + 1
  }
  return text.length
}

/** The index after a number, `true`, `false` or `null`. */
function scalarEnd(text: string, start: number): number {
  let at = start
  for (
    let char = text.charCodeAt(at);
    at < text.length && char !== 0x2c && char !== 0x7d && char !== 0x5d && !isSpace(char);
  )
    char = text.charCodeAt(++at)
  return at
}
