/** A case: what is measured in a child process, and what the parent makes of it. */
import type { Bench } from './bench.ts'
import type { OpenSystem, Place } from './system.ts'

/** What a measurement gives back: numbers by name. */
export type Figures = Readonly<Record<string, number>>
export type Params = Readonly<Record<string, number>>

/** A requirement on a figure: against a constant, or against another figure of the same run. */
export interface Check {
  /** What is compared, as in "of ceiling" or "p50 in ms". */
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
  /** What the rounds gave, of which `value` is the median. */
  readonly rounds?: readonly number[]
}

export interface Case {
  readonly name: string
  readonly title: string
  /** Runs in a child process of its own, in an empty directory or one that the case keeps. */
  measure(open: OpenSystem, place: Place, params: Params): Promise<Figures>
  /** Runs in the parent: chooses loads and subjects, and judges. */
  run(bench: Bench): Promise<Row[]>
}

export function isMet({ measured, required, sense }: Check): boolean {
  return sense === 'at least' ? measured >= required : measured <= required
}
