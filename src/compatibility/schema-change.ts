/**
 * Whether events that were written by one schema can be read by another. The answer is never a guess: `compatible` is
 * proven, `incompatible` has an example that the one accepts and the other refuses, and all else is `unknown`. One
 * thing is assumed: `Undeclared`.
 */
import type { JsonObject } from '../base/json-object.ts'
import { refusedValues } from './counter-examples.ts'
import { type Unproven, unproven } from './coverage.ts'
import type { Undeclared } from './schema-view.ts'

/** New code reads old events · old code reads new events · both. With `-transitive`, for all earlier schemas too. */
export type CompatibilityMode =
  | 'backward'
  | 'forward'
  | 'full'
  | 'backward-transitive'
  | 'forward-transitive'
  | 'full-transitive'

export const COMPATIBILITY_MODES: readonly CompatibilityMode[] = [
  'backward',
  'forward',
  'full',
  'backward-transitive',
  'forward-transitive',
  'full-transitive',
]

/** A value that a schema accepts, and the one that has to read it refuses. */
export interface SchemaBreak {
  /** `backward`: the new schema refuses an old value. */
  readonly direction: 'backward' | 'forward'
  /** The field, as `data.items[].sku`. */
  readonly path: string
  readonly message: string
  /** The whole data of the event. */
  readonly example: unknown
}

export interface SchemaVerdict {
  readonly verdict: 'compatible' | 'incompatible' | 'unknown'
  readonly breaks: readonly SchemaBreak[]
  /** If the verdict is `unknown`: what could not be decided, as `data.sku: pattern`. */
  readonly undecided: readonly string[]
}

const UNDECIDED_MAX = 20

/**
 * Judges a change of a schema.
 * @param before the earlier schemas, the latest first; only transitive modes compare with more than the first
 */
export function judgeChange(
  before: readonly JsonObject[],
  after: JsonObject,
  mode: CompatibilityMode,
  undeclared: Undeclared = 'absent',
): SchemaVerdict {
  const earlier = mode.endsWith('-transitive') ? before : before.slice(0, 1)
  const verdicts = earlier.flatMap((schema) => [
    ...(mode.startsWith('forward') ? [] : [judged(schema, after, 'backward', undeclared)]),
    ...(mode.startsWith('backward') ? [] : [judged(after, schema, 'forward', undeclared)]),
  ])
  return together(verdicts)
}

export function together(verdicts: readonly SchemaVerdict[]): SchemaVerdict {
  const breaks = new Map(
    verdicts.flatMap(({ breaks: each }) =>
      each.map((found) => [`${found.direction} ${found.path} ${found.message}`, found]),
    ),
  )
  const undecided = [...new Set(verdicts.flatMap((each) => each.undecided))]
  const verdict = breaks.size > 0 ? 'incompatible' : undecided.length > 0 ? 'unknown' : 'compatible'
  return { verdict, breaks: [...breaks.values()], undecided }
}

function judged(
  writer: JsonObject,
  reader: JsonObject,
  direction: SchemaBreak['direction'],
  undeclared: Undeclared,
): SchemaVerdict {
  if (JSON.stringify(writer) === JSON.stringify(reader)) return { verdict: 'compatible', breaks: [], undecided: [] }
  const left = unproven(writer, reader, undeclared)
  if (left.length === 0) return { verdict: 'compatible', breaks: [], undecided: [] }
  const breaks = refusedValues(writer, reader, undeclared).map((found) => ({ direction, ...found }))
  if (breaks.length > 0) return { verdict: 'incompatible', breaks, undecided: [] }
  return { verdict: 'unknown', breaks: [], undecided: [...new Set(left.map(textOf))].slice(0, UNDECIDED_MAX) }
}

function textOf({ path, keyword }: Unproven): string {
  return `${path}: ${keyword}`
}
