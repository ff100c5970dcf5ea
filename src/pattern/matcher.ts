/**
 * The condition of one alternative of a pattern, and whether a value satisfies it. This file defines each operator. The
 * index (`value-index.ts`) only finds more quickly which alternatives to check.
 */
import { endsWithIgnoreCase, equalsIgnoreCase, type FoldedText, foldText, startsWithIgnoreCase } from './ignore-case.ts'
import { addressBits, type CidrBlock, inBlock } from './ip-address.ts'
import { matchesWildcard, type Wildcard } from './wildcard.ts'

/** Tests on the text of a string, also found inside `anything-but`. */
export type TextMatcher =
  | { readonly kind: 'prefix'; readonly text: string }
  | { readonly kind: 'suffix'; readonly text: string }
  | { readonly kind: 'equals-ignore-case'; readonly text: string; readonly folded: FoldedText }
  | { readonly kind: 'prefix-ignore-case'; readonly text: string; readonly folded: FoldedText }
  | { readonly kind: 'suffix-ignore-case'; readonly text: string; readonly folded: FoldedText }
  | { readonly kind: 'wildcard'; readonly text: string; readonly wildcard: Wildcard }

export interface RangeMatcher {
  readonly kind: 'range'
  readonly low: number
  readonly high: number
  /** Whether the bound itself is excluded. */
  readonly lowOpen: boolean
  readonly highOpen: boolean
}

export type Matcher =
  | TextMatcher
  | RangeMatcher
  | { readonly kind: 'string'; readonly text: string }
  | { readonly kind: 'number'; readonly value: number }
  /** A number that no double holds exactly: it equals only the same text. */
  | { readonly kind: 'number-text'; readonly text: string }
  | { readonly kind: 'literal'; readonly value: boolean | null }
  | { readonly kind: 'address'; readonly bits: string }
  | { readonly kind: 'cidr'; readonly block: CidrBlock }
  | { readonly kind: 'exists' }
  /** No value satisfies it; the absence of a value does. */
  | { readonly kind: 'absent' }
  | { readonly kind: 'but-strings'; readonly texts: ReadonlySet<string> }
  | { readonly kind: 'but-numbers'; readonly values: ReadonlySet<number> }
  | { readonly kind: 'but-text'; readonly matchers: readonly TextMatcher[] }

/** A value of an event, as a matcher sees it. */
export interface MatchableValue {
  /** The string, if the value is one. */
  readonly string: string | undefined
  /** The double nearest to the number, if the value is one; otherwise `NaN`. */
  readonly number: number
  /** Whether a double holds the number exactly as it was written. */
  readonly isComparable: boolean
  /** The number as it was written; used only if no double holds it exactly. */
  readonly numberText: string | undefined
  /** `true`, `false` or `null`, if the value is one of them. */
  readonly literal: boolean | null | undefined
}

export function matchesText(matcher: TextMatcher, text: string): boolean {
  switch (matcher.kind) {
    case 'prefix':
      return text.startsWith(matcher.text)
    case 'suffix':
      return text.endsWith(matcher.text)
    case 'equals-ignore-case':
      return equalsIgnoreCase(matcher.folded, text)
    case 'prefix-ignore-case':
      return startsWithIgnoreCase(matcher.folded, text)
    case 'suffix-ignore-case':
      return endsWithIgnoreCase(matcher.folded, text)
    case 'wildcard':
      return matchesWildcard(matcher.wildcard, text)
  }
}

export function inRange(range: RangeMatcher, value: number): boolean {
  return (
    (range.lowOpen ? value > range.low : value >= range.low) &&
    (range.highOpen ? value < range.high : value <= range.high)
  )
}

function isAddressIn(value: MatchableValue, test: (bits: string) => boolean): boolean {
  const bits = value.string === undefined ? null : addressBits(value.string)
  return bits !== null && test(bits)
}

/** Whether a value satisfies a matcher. */
export function matchesValue(matcher: Matcher, value: MatchableValue): boolean {
  switch (matcher.kind) {
    case 'string':
      return value.string === matcher.text
    case 'number':
      return value.number === matcher.value && value.isComparable
    case 'number-text':
      return !Number.isNaN(value.number) && !value.isComparable && value.numberText === matcher.text
    case 'literal':
      return value.literal === matcher.value
    case 'address':
      return isAddressIn(value, (bits) => bits === matcher.bits)
    case 'cidr':
      return isAddressIn(value, (bits) => inBlock(matcher.block, bits))
    case 'range':
      return inRange(matcher, value.number) && value.isComparable
    case 'exists':
      return true
    case 'absent':
      return false
    case 'but-strings':
      return value.string === undefined || !matcher.texts.has(value.string)
    case 'but-numbers':
      return !matcher.values.has(value.number) || !value.isComparable
    case 'but-text': {
      const { string } = value
      return string === undefined || !matcher.matchers.some((each) => matchesText(each, string))
    }
    default:
      return value.string !== undefined && matchesText(matcher, value.string)
  }
}

const SEPARATOR = '\u0000'

/** A text that is equal for equal matchers of one field, and different for different ones. */
export function matcherKey(matcher: Matcher): string {
  switch (matcher.kind) {
    case 'number':
      return `number${SEPARATOR}${matcher.value === 0 ? 0 : matcher.value}`
    case 'literal':
      return `literal${SEPARATOR}${matcher.value}`
    case 'address':
      return `address${SEPARATOR}${matcher.bits}`
    case 'cidr':
      return `cidr${SEPARATOR}${matcher.block.width}/${matcher.block.bits}`
    case 'range':
      return `range${SEPARATOR}${matcher.lowOpen ? '(' : '['}${matcher.low},${matcher.high}${matcher.highOpen ? ')' : ']'}`
    case 'exists':
    case 'absent':
      return matcher.kind
    case 'but-strings':
      return `but-strings${SEPARATOR}${JSON.stringify([...matcher.texts])}`
    case 'but-numbers':
      return `but-numbers${SEPARATOR}${[...matcher.values].join()}`
    case 'but-text':
      return `but-text${SEPARATOR}${JSON.stringify(matcher.matchers.map((each) => [each.kind, each.text]))}`
    default:
      return `${matcher.kind}${SEPARATOR}${matcher.text}`
  }
}

/** Make the matcher of a text operator. `wildcard` has its own parser. */
export function textMatcher(kind: Exclude<TextMatcher['kind'], 'wildcard'>, text: string): TextMatcher {
  return kind === 'prefix' || kind === 'suffix' ? { kind, text } : { kind, text, folded: foldText(text) }
}
