/**
 * The regular expressions of stored schemas. Everyone with permission to declare a channel can supply one, and one that
 * backtracks could block the process for minutes. Unless its worst case is small, it is matched under a time limit.
 */
import { createContext, Script } from 'node:vm'

/** Largest worst case, in steps, that runs without a time limit: a few milliseconds. */
const PLAIN_STEPS_MAX = 500_000
/** Compiled patterns that are kept: as many as the schemas of a channel can have. */
const PATTERNS_MAX = 10_000

interface Compiled {
  readonly expression: RegExp
  readonly steps: (chars: number) => number
  /** A text of this many characters took too long: texts of this length or more are not tried again. */
  slowFrom: number
}

const patterns = new Map<string, Compiled | null>()

/** Whether matching runs under a time limit now; and the pattern that is being matched, with the length of the text. */
let limited = false
let current: { readonly pattern: Compiled; readonly chars: number } | null = null

/** Thrown if a pattern needs a time limit and there is none. */
export class NeedsTimeLimit extends Error {}

/**
 * Whether the text matches; undefined if this is known to take too long. A pattern that JavaScript cannot compile is
 * ignored: everything matches it.
 * @throws NeedsTimeLimit
 */
export function matchesPattern(source: string, text: string): boolean | undefined {
  let pattern = patterns.get(source)
  if (pattern === undefined) {
    pattern = compiled(source)
    if (patterns.size >= PATTERNS_MAX) patterns.clear()
    patterns.set(source, pattern)
  }
  if (pattern === null) return true
  if (pattern.steps(text.length) <= PLAIN_STEPS_MAX) return pattern.expression.test(text)
  if (text.length >= pattern.slowFrom) return undefined
  if (!limited) throw new NeedsTimeLimit()
  current = { pattern, chars: text.length }
  const matched = pattern.expression.test(text)
  current = null
  return matched
}

function compiled(source: string): Compiled | null {
  for (const flags of ['u', '']) {
    try {
      return { expression: new RegExp(source, flags), steps: worstCase(source), slowFrom: Number.POSITIVE_INFINITY }
    } catch {
      // It may compile without the flag.
    }
  }
  return null
}

/** Parts of a pattern: an escape, a class, the beginning of a group, another character. */
const TOKEN = /\\(?:[1-9]|k<)|\\.|\[(?:\\.|[^\]\\])*\]|\(\?<?[:=!]|\(\?<\w+>|./gsu
const QUANTIFIER = /^(?:[*+?]|\{(\d+)(,?)(\d*)\})\??/u
/** A repetition of a single character up to this count counts as that many choices. */
const REPEATS_MAX = 64

/**
 * Approximate upper bound of the steps of a backtracking engine, by the length of the text: the length to the power of
 * the number of unbounded repetitions, times the choices. Repetitions of groups and back references have no such bound.
 */
function worstCase(source: string): (chars: number) => number {
  let degree = source.startsWith('^') && !source.includes('|') ? 0 : 1
  let choices = 1
  for (const { 0: token, index } of source.matchAll(TOKEN)) {
    if (/^\\(?:[1-9]|k)/.test(token)) return () => Number.POSITIVE_INFINITY
    if (token === '|') choices *= 2
    const [quantifier, least, comma, most] = QUANTIFIER.exec(source.slice(index + token.length)) ?? []
    // A quantifier is a token, too, and nothing after it belongs to it.
    if (quantifier === undefined || token === '(' || /^[*+?{|^(]/.test(token)) continue
    const [from, to] = [Number(least), most === '' ? Number.POSITIVE_INFINITY : Number(most)]
    const exact = comma === ''
    if (quantifier.startsWith('?')) choices *= 2
    else if (token === ')') {
      if (!exact || from > 1) return () => Number.POSITIVE_INFINITY
    } else if (quantifier.startsWith('{') && (exact || to - from <= REPEATS_MAX)) choices *= exact ? 1 : to - from + 1
    else degree++
  }
  return (chars) => choices * Math.max(1, chars) ** degree
}

interface Question {
  work: () => unknown
}

/** The words of the script are the members of its context. */
const question: Question = { work: () => undefined }
const context = createContext(question)
const script = new Script('work()')

/**
 * Run a function that matches patterns, within the times that `tries` gives in milliseconds. Undefined if it takes
 * longer; the pattern that was being matched is then known to be slow for texts of that length.
 */
export function withinTime<T>(tries: readonly number[], work: () => T): T | undefined {
  limited = true
  question.work = work
  try {
    for (const timeout of tries) {
      current = null
      try {
        return script.runInContext(context, { timeout: Math.ceil(timeout) }) as T
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error
      }
    }
    noteSlow()
    return undefined
  } finally {
    limited = false
    current = null
    question.work = () => undefined
  }
}

function noteSlow(): void {
  if (current !== null) current.pattern.slowFrom = Math.min(current.pattern.slowFrom, current.chars)
}
