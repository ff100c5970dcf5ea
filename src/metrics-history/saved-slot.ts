/**
 * A slot as the data of an event in `$metrics.day` or `$metrics.month`:
 *
 *     { "slot": 179623412, "rows": "base64 of deflated JSON: [["channel","orders",12,4096], …]" }
 *
 * The values are in the order of `FIGURES`; zeros at the end are left out, and so are objects with zeros only.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { isName } from '../base/names.ts'
import { FIGURES, figuresOf, type ObjectKind, type Row } from './figures.ts'

/** More than the rows of the largest slot take. */
const INFLATED_MAX = 16 * 1024 * 1024

export interface SavedSlot {
  readonly slot: number
  readonly rows: string
}

export function savedSlot(slot: number, rows: readonly Row[]): SavedSlot {
  const kept = rows.flatMap(({ kind, name, values }) => {
    const end = values.findLastIndex((value) => value !== 0) + 1
    return end === 0 ? [] : [[kind, name, ...values.slice(0, end).map(shortened)]]
  })
  return { slot, rows: deflateRawSync(JSON.stringify(kept), { level: 6 }).toString('base64') }
}

/** Reads a saved slot. Null if the data is not one. Rows and figures that this version does not know are left out. */
export function readSlot(data: unknown): { readonly slot: number; readonly rows: Row[] } | null {
  try {
    const { slot, rows } = data as Partial<Record<keyof SavedSlot, unknown>>
    if (!Number.isSafeInteger(slot) || (slot as number) < 0 || typeof rows !== 'string') return null
    const inflated = inflateRawSync(Buffer.from(rows, 'base64'), { maxOutputLength: INFLATED_MAX })
    const parsed: unknown = JSON.parse(inflated.toString())
    return Array.isArray(parsed) ? { slot: slot as number, rows: parsed.flatMap(rowOf) } : null
  } catch {
    return null
  }
}

/** One row, or none if it is not one. Figures that this version does not know are left out. */
function rowOf(row: unknown): Row[] {
  if (!Array.isArray(row)) return []
  const [kind, name, ...values] = row as unknown[]
  if (typeof kind !== 'string' || !Object.hasOwn(FIGURES, kind) || !isName(name)) return []
  const known = values.slice(0, figuresOf(kind as ObjectKind).length)
  return known.every((value) => typeof value === 'number' && Number.isFinite(value) && value >= 0)
    ? [{ kind: kind as ObjectKind, name, values: known as number[] }]
    : []
}

function shortened(value: number): number {
  return value < 1000 ? Number(value.toPrecision(4)) : Math.round(value)
}
