/**
 * The types of event patterns. `PatternJson` is any pattern as JSON. `PatternOf<Data>` is the same language, with field
 * names and value types checked against an event's data at compile time. What types cannot express (an empty array, a
 * range whose bounds cross, a malformed wildcard) is refused when the pattern is compiled.
 */

/**
 * An event pattern as JSON: fields to match, each an array of alternatives or an object of further fields, and `$or`.
 *
 * Integers beyond 2^53 may be written as `bigint`, so that they keep their digits.
 * @see docs/patterns.md
 */
export interface PatternJson {
  readonly [field: string]: PatternJson | readonly unknown[]
}

/** A bound of `numeric`: one comparison, or a lower bound and an upper one. */
export type NumericRange =
  | readonly ['=' | '<' | '<=' | '>' | '>=', number]
  | readonly ['>' | '>=', number, '<' | '<=', number]

/** Operators for any field. */
interface ExistsOperator {
  readonly exists: boolean
}

type IgnoreCase = { readonly 'equals-ignore-case': string }
type OneOrMore<Value> = Value | readonly Value[]

type StringOperator<Value extends string> =
  | { readonly exactly: Value }
  | { readonly prefix: string | IgnoreCase }
  | { readonly suffix: string | IgnoreCase }
  | { readonly 'equals-ignore-case': string }
  | { readonly wildcard: string }
  | { readonly cidr: `${string}/${number}` }
  | {
      readonly 'anything-but':
        | OneOrMore<Value>
        | { readonly prefix: OneOrMore<string> }
        | { readonly suffix: OneOrMore<string> }
        | { readonly 'equals-ignore-case': OneOrMore<string> }
        | { readonly wildcard: OneOrMore<string> }
    }

type NumberOperator = { readonly numeric: NumericRange } | { readonly 'anything-but': OneOrMore<number> }

type Scalar = string | number | bigint | boolean | null

/**
 * The values in an array of any depth: a pattern treats the elements of arrays as if they were in the array's position.
 */
type Flat<Value> = Value extends Date ? string : Value extends readonly (infer Element)[] ? Flat<Element> : Value

/** The alternatives for a scalar of this type. */
type AlternativesOf<Value> =
  | ExistsOperator
  | (Value extends string ? Value | StringOperator<Value> : never)
  | (Value extends number | bigint ? Value | NumberOperator : never)
  | (Value extends boolean | null ? Value : never)

type ScalarPattern<Value> = [Value] extends [never] ? never : readonly AlternativesOf<Value>[]
type ObjectPattern<Value> = [Value] extends [never] ? never : PatternOf<Value> | readonly ExistsOperator[]

type FlatFieldPattern<Value> = ScalarPattern<Extract<Value, Scalar>> | ObjectPattern<Exclude<Value, Scalar>>

/** The pattern of one field. */
export type FieldPattern<Value> = unknown extends Value
  ? PatternJson | readonly unknown[]
  : FlatFieldPattern<Flat<Exclude<Value, undefined>>>

type KeysOf<Data> = Data extends unknown ? Extract<keyof Data, string> : never
type ValueAt<Data, Key extends string> = Data extends { readonly [K in Key]?: infer Value } ? Value : never

/**
 * A pattern over data of a known type: names of fields and types of values are checked, operators are offered where
 * they can match.
 *
 * `numeric` is for numbers; `prefix`, `suffix`, `wildcard`, `equals-ignore-case` and `cidr` for strings; `exists` for
 * anything. A field that is an array is matched by its elements. Data of an unknown type takes any pattern.
 *
 * @example
 * ```ts
 * import type { PatternOf } from 'millrace/pattern'
 *
 * const large: PatternOf<{ sku: string; quantity: number }> = { quantity: [{ numeric: ['>', 100] }] }
 * ```
 */
export type PatternOf<Data> = unknown extends Data
  ? PatternJson
  : string extends KeysOf<Data>
    ? { readonly [Key in KeysOf<Data>]: FieldPattern<ValueAt<Data, Key>> | readonly PatternOf<Data>[] }
    : { readonly [Key in KeysOf<Data>]?: FieldPattern<ValueAt<Data, Key>> } & {
        readonly $or?: readonly [PatternOf<Data>, PatternOf<Data>, ...PatternOf<Data>[]]
      }
