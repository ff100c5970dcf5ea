/** The table for people to read. */
import { type Check, isMet, type Row } from './case.ts'

export function caseText(title: string, rows: readonly Row[]): string {
  const cells = rows.map((row) => [
    row.load,
    row.subject,
    `${number(row.value)} ${row.unit}`,
    row.checks?.map(checkText).join(' · ') ?? '',
    noteOf(row),
  ])
  const widths = [0, 1, 2, 3].map((column) => Math.max(...cells.map((line) => [...(line[column] ?? '')].length)))
  const lines = cells.map((line) =>
    line
      .map((cell, column) => (column === 2 ? cell.padStart(widths[2] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  '),
  )
  return [title, ...lines.map((line) => `  ${line.trimEnd()}`), ''].join('\n')
}

export function checkText(check: Check): string {
  const sign = check.sense === 'at least' ? '≥' : '≤'
  return `${number(check.measured)} ${check.of} (${sign} ${number(check.required)}: ${isMet(check) ? 'met' : 'SHORT'})`
}

function noteOf({ note, rounds }: Row): string {
  const spread =
    rounds === undefined || rounds.length < 2 ? '' : `[${number(Math.min(...rounds))} – ${number(Math.max(...rounds))}]`
  return [spread, note ?? ''].filter((part) => part !== '').join(' ')
}

export function number(value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en')
  return String(Number(value.toPrecision(Math.abs(value) >= 10 ? 3 : 2)))
}

/** How many requirements were measured, and which were not met. */
export function verdict(rows: readonly (Row & { readonly caseName: string })[]): string {
  const checked = rows.flatMap((row) => (row.checks ?? []).map((check) => ({ row, check })))
  const short = checked.filter(({ check }) => !isMet(check))
  const lines = short.map(({ row, check }) => `  short: ${row.caseName}, ${row.load}: ${checkText(check)}`)
  return [`${checked.length - short.length} of ${checked.length} requirements met`, ...lines].join('\n')
}
