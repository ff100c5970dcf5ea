/**
 * Where log lines go: the application's logger, or standard error. A logger that throws or rejects has no other effect.
 */
import { MillraceError } from '../base/errors.ts'
import { watchAnswer } from '../base/thrown.ts'

/**
 * What `connect` takes as its logger: any object with these methods. One with a `child` method (pino, bunyan) is called
 * as pino is, `(fields, message)`; any other is called as the console is, with one line of text.
 */
export interface Logger {
  info(...args: unknown[]): unknown
  warn(...args: unknown[]): unknown
  error(...args: unknown[]): unknown
}

export type Level = 'info' | 'warn' | 'error'

/** The facts of a line besides its message: consumer, channel, event, attempt. */
export type LogFields = Readonly<Record<string, unknown>>

export type LogSink = (level: Level, message: string, fields: LogFields) => void

const VALUE_CHARS_MAX = 500

/** In a test run the lines would hide the output of the tests. */
const TEST_VARIABLES = ['VITEST', 'JEST_WORKER_ID', 'NODE_TEST_CONTEXT']

/**
 * The function that writes log lines; null if nothing is to be written.
 * @throws INVALID_OPTION when the logger lacks a method
 */
export function sinkOf(
  logger: Logger | false | undefined,
  env: Readonly<Record<string, string | undefined>> = process.env,
): LogSink | null {
  if (logger === false) return null
  if (logger === undefined) return isTest(env) ? null : standardError
  for (const level of ['info', 'warn', 'error'] as const) {
    if (typeof logger?.[level] === 'function') continue
    throw new MillraceError(
      'INVALID_OPTION',
      `logger must have the methods info, warn and error, as pino and the console have, or be false; it lacks ${level}`,
      {
        option: 'logger',
      },
    )
  }
  const likePino = 'child' in logger && typeof logger.child === 'function'
  return (level, message, fields) => {
    try {
      watchAnswer(likePino ? logger[level](fields, message) : logger[level](lineOf(message, fields)))
    } catch {
      // A failing logger must not fail the work that logs.
    }
  }
}

function isTest(env: Readonly<Record<string, string | undefined>>): boolean {
  return env['NODE_ENV'] === 'test' || TEST_VARIABLES.some((name) => env[name] !== undefined)
}

function standardError(level: Level, message: string, fields: LogFields): void {
  process.stderr.write(`${new Date().toISOString()} ${level.toUpperCase()} ${lineOf(message, fields)}\n`)
}

/** One line: `millrace: MESSAGE name=value name="a value with spaces"`. */
export function lineOf(message: string, fields: LogFields): string {
  const shown = Object.entries(fields).flatMap(([name, value]) =>
    value === undefined || value === null ? [] : [`${name}=${shownAs(value)}`],
  )
  return [`millrace: ${oneLine(message)}`, ...shown].join(' ')
}

function shownAs(value: unknown): string {
  const text = oneLine(typeof value === 'string' ? value : (jsonOf(value) ?? typeof value))
  return /^[\w.:/+@-]+$/.test(text) && text.length <= VALUE_CHARS_MAX
    ? text
    : JSON.stringify(text.slice(0, VALUE_CHARS_MAX))
}

function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}

/** An error's message may have several lines, and control characters that a terminal executes. */
function oneLine(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not reach a terminal
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ')
}
