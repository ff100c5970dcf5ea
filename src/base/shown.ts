/** Values and names as error messages show them. */

const CHARS_MAX = 60

/**
 * A value in an error message. It never throws, whatever the value is, and never shows more than 60 characters of it.
 */
export function shown(value: unknown): string {
  try {
    return shownAs(value)
  } catch {
    return 'an object that cannot be read'
  }
}

function shownAs(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > CHARS_MAX ? `${value.slice(0, CHARS_MAX)}…` : value)
    case 'object':
      if (value === null) return 'null'
      if (value instanceof Date) return Number.isFinite(value.getTime()) ? value.toISOString() : 'an invalid Date'
      return Array.isArray(value) ? 'an array' : 'an object'
    case 'function':
      return 'a function'
    default:
      return String(value)
  }
}

/**
 * A broker's URL without parts that may be secret: everything before its last `@`, and its query. Works for malformed
 * and foreign URLs, too. URLs of files and sockets have no credentials.
 */
export function withoutSecrets(url: string): string {
  if (/^(?:file|unix):(?!\/\/[^/])/i.test(url)) return url
  const [, scheme = ''] = /^([A-Za-z][A-Za-z0-9+.-]*(?::\/{0,2}|\/\/))/.exec(url) ?? []
  const rest = url.slice(scheme.length)
  return scheme + rest.slice(rest.lastIndexOf('@') + 1).replace(/[?#].*$/s, '')
}

/** `did you mean "carts"?`, if one of the names is similar enough. */
export function didYouMean(name: string, names: Iterable<string>): string | undefined {
  const found = nearest(name, names)
  return found === undefined ? undefined : `did you mean "${found}"?`
}

/** The name that differs least, by at most a third of its characters. */
function nearest(name: string, names: Iterable<string>): string | undefined {
  let found: string | undefined
  let least = Math.max(2, Math.ceil(Math.min(name.length, CHARS_MAX) / 3)) + 1
  for (const candidate of names) {
    if (Math.abs(candidate.length - name.length) >= least) continue
    const edits = editsBetween(name.toLowerCase(), candidate.toLowerCase())
    if (edits >= least || edits >= candidate.length) continue
    least = edits
    found = candidate
  }
  return found
}

/** The number of characters to insert, delete, replace or swap with a neighbour (optimal string alignment). */
function editsBetween(left: string, right: string): number {
  let before: number[] = []
  let row = Array.from({ length: right.length + 1 }, (_, at) => at)
  for (let i = 1; i <= left.length; i++) {
    const next = [i]
    for (let j = 1; j <= right.length; j++) {
      const same = left[i - 1] === right[j - 1]
      let edits = Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + (same ? 0 : 1))
      const swapped = i > 1 && j > 1 && left[i - 1] === right[j - 2] && left[i - 2] === right[j - 1]
      if (swapped) edits = Math.min(edits, (before[j - 2] as number) + 1)
      next.push(edits)
    }
    before = row
    row = next
  }
  return row[right.length] as number
}
