/** A case: what a child process measures, and how the parent judges it. */
import type { Bench } from './bench.ts'
import type { OpenSystem, Setting } from './system.ts'

/** The result of a measurement: numbers by name. */
export type Figures = Readonly<Record<string, number>>
export type Params = Readonly<Record<string, number>>

/** A requirement for a figure, compared with a constant or with another figure of the same run. */
export interface Check {
  /** What is compared, such as "of ceiling" or "p50 in ms". */
  readonly of: string
  readonly measured: number
  readonly required: number
  readonly sense: 'at least' | 'at most'
}

export interface Row {
  /** Such as "1,000 in flight". */
  readonly load: string
  readonly subject: string
  readonly value: number
  readonly unit: string
  readonly checks?: readonly Check[]
  readonly note?: string
  /** The values of the rounds; `value` is their median. */
  readonly rounds?: readonly number[]
}

export interface Case {
  readonly name: string
  readonly title: string
  /** Runs in a child process, in an empty directory or one that the case keeps. */
  measure(open: OpenSystem, setting: Setting, params: Params): Promise<Figures>
  /** Runs in the parent: selects loads and subjects, and judges the figures. */
  run(bench: Bench): Promise<Row[]>
}

export function isMet({ measured, required, sense }: Check): boolean {
  return sense === 'at least' ? measured >= required : measured <= required
}
