/**
 * The patterns of kept schemas. They come from whoever may declare a channel, and a regular expression that backtracks could hold the process for minutes:
 * one whose worst case is not plainly small is matched under a time limit.
 */
import { createContext, Script } from 'node:vm'

/** Steps of a worst case that are taken without a time limit: a few milliseconds. */
const PLAIN_STEPS_MAX = 500_000
/** As many as the schemas of a channel have room for. */
const PATTERNS_MAX = 10_000

interface Compiled {
  readonly expression: RegExp
  readonly steps: (chars: number) => number
  /** A text of so many characters took too long: none as long is tried again. */
  slowFrom: number
}

const patterns = new Map<string, Compiled | null>()

/** Whether what is matched now is within a time limit; and the pattern that is being matched, with a text of so many characters. */
let limited = false
let current: { readonly pattern: Compiled; readonly chars: number } | null = null

/** Thrown where a pattern is met that must be matched within a time limit, and there is none. */
export class NeedsTimeLimit extends Error {}

/**
 * Whether the text matches. Undefined where it is known to take too long. A pattern that no JavaScript engine takes is not judged: everything matches it.
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
      // Taken without the flag, perhaps.
    }
  }
  return null
}

/** Parts of a pattern: an escape, a class, the beginning of a group, another character. */
const TOKEN = /\\(?:[1-9]|k<)|\\.|\[(?:\\.|[^\]\\])*\]|\(\?<?[:=!]|\(\?<\w+>|./gsu
const QUANTIFIER = /^(?:[*+?]|\{(\d+)(,?)(\d*)\})\??/u
/** A repetition of a single character up to this often counts as so many choices. */
const REPEATS_MAX = 64

/**
 * Steps that a backtracking engine takes at most, about, by the length of the text: the length to the power of the unbounded repetitions, times the choices.
 * Repetitions of groups, and references back, have no such bound.
 */
function worstCase(source: string): (chars: number) => number {
  let degree = source.startsWith('^') && !source.includes('|') ? 0 : 1
  let choices = 1
  for (const { 0: token, index } of source.matchAll(TOKEN)) {
    if (/^\\(?:[1-9]|k)/.test(token)) return () => Number.POSITIVE_INFINITY
    if (token === '|') choices *= 2
    const [quantifier, least, comma, most] = QUANTIFIER.exec(source.slice(index + token.length)) ?? []
    // A quantifier is a token, too, and nothing is behind it that belongs to it.
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
 * Do what matches patterns, within a time that `tries` gives in milliseconds. Undefined where it takes longer, and the pattern that it was at is known to be slow
 * for texts of that length.
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
