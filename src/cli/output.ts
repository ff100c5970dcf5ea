/** Output of the command line: text or JSON on standard output, everything else on standard error, and exit codes. */
import { styleText } from 'node:util'
import { isMillraceError } from '../base/errors.ts'

/** 0 done · 1 failed · 2 wrong usage (also for commander's own refusals). */
export const EXIT = { done: 0, failed: 1, usage: 2 } as const

const USAGE_CODES = new Set([
  'INVALID_OPTION',
  'INVALID_NAME',
  'INVALID_PATTERN',
  'INVALID_EXPRESSION',
  'INVALID_RULE',
  'UNKNOWN_ENGINE',
])

export interface OutputOptions {
  readonly json?: boolean
}

let readerLeft = false
let endsWithReader = false

/**
 * Watch for a reader that stops reading (`millrace publish … | head`).
 * A command that changes something continues to its end without further output: to stop would leave the work half done,
 * with the exit code of success.
 */
export function watchReader(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_DESTROYED')
      process.exit(fail(new Error(`nothing can be printed: ${error.message}`), {}))
    readerLeft = true
    if (endsWithReader) process.exit(EXIT.done)
  })
}

/** For commands that only show something (`millrace tail … | head`): end when the reader stops reading. */
export function endWithReader(): void {
  endsWithReader = true
}

export function print(text: string): void {
  if (!readerLeft) process.stdout.write(`${text}\n`)
}

export function printJson(value: unknown): void {
  print(JSON.stringify(value))
}

/** The last line of a command: what was done. It goes to standard error, so that standard output can be piped. */
export function complete(text: string, options: OutputOptions): void {
  if (options.json !== true) process.stderr.write(`${colour('green', '✓')} ${text}\n`)
}

export function colour(style: 'green' | 'red' | 'yellow' | 'cyan' | 'dim' | 'bold', text: string): string {
  const wanted =
    process.env['NO_COLOR'] === undefined && (process.stdout.isTTY === true || process.env['FORCE_COLOR'] !== undefined)
  return wanted ? styleText(style, text) : text
}

/** A table with headings; numbers are aligned to the right. */
export function table(heads: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const widths = heads.map((head, column) =>
    Math.max(head.length, ...rows.map((row) => String(row[column] ?? '').length)),
  )
  const line = (cells: readonly (string | number)[]): string =>
    cells
      .map((cell, column) =>
        typeof cell === 'number'
          ? String(cell).padStart(widths[column] as number)
          : String(cell).padEnd(widths[column] as number),
      )
      .join('  ')
      .trimEnd()
  return [colour('bold', line(heads)), ...rows.map(line)].join('\n')
}

/** Print the error, and return the exit code for it. */
export function fail(error: unknown, options: OutputOptions): number {
  const code = isMillraceError(error) ? error.code : 'ERROR'
  const message = error instanceof Error ? error.message : String(error)
  if (options.json === true)
    process.stderr.write(`${JSON.stringify({ error: isMillraceError(error) ? error.toJSON() : { code, message } })}\n`)
  else process.stderr.write(`${colour('red', '✗')} ${code}: ${message}\n`)
  return USAGE_CODES.has(code) ? EXIT.usage : EXIT.failed
}
