/**
 * All alternatives that the patterns of an index have for one field, arranged so that a value finds those that it
 * satisfies without checking the others: a map for exact values, trees for prefixes and suffixes, a tree of ranges, a
 * map for each length of address block. Only `anything-but`, which nearly every value satisfies, is checked one by one.
 *
 * Equal alternatives share one bucket of subscribers.
 */
import { AddressIndex } from './address-index.ts'
import { type EventFields, KIND } from './event-fields.ts'
import { foldKey } from './ignore-case.ts'
import type { CidrBlock } from './ip-address.ts'
import { type Matcher, matcherKey, matchesText, matchesValue, type TextMatcher } from './matcher.ts'
import { NumberIndex } from './number-index.ts'
import { TextTree } from './text-tree.ts'
import { WildcardIndex } from './wildcard-index.ts'

/** One alternative and its subscribers, which are told when a value satisfies it. */
export interface Bucket<Subscriber> {
  readonly matcher: Matcher
  readonly subscribers: Subscriber[]
}

/**
 * The estimated cost of finding a pattern by an alternative of each kind, without its subscribers: how many events are
 * likely to satisfy it.
 */
const COST: Readonly<Record<Matcher['kind'], number>> = {
  string: 1,
  number: 1,
  'number-text': 1,
  address: 1,
  'equals-ignore-case': 1,
  prefix: 6,
  suffix: 6,
  'prefix-ignore-case': 6,
  'suffix-ignore-case': 6,
  wildcard: 8,
  cidr: 8,
  range: 8,
  literal: 100,
  exists: 10_000,
  'but-strings': 100_000,
  'but-numbers': 100_000,
  'but-text': 100_000,
  absent: 200_000,
}
/** A range with one bound is satisfied by half of all numbers. */
const HALF_OPEN_COST = 200

/** The part of a subscriber that the index uses: the event in which its rule matched last. */
interface Indexed {
  readonly rule: { readonly matchedIn: number }
}

export class ValueIndex<Subscriber extends Indexed> {
  readonly #strings: Map<string, Bucket<Subscriber>> = new Map()
  /** All other buckets, by `matcherKey`. */
  readonly #others: Map<string, Bucket<Subscriber>> = new Map()
  readonly #addresses: AddressIndex<Bucket<Subscriber>> = new AddressIndex()
  readonly #prefixes: TextTree<Bucket<Subscriber>> = new TextTree(false)
  readonly #suffixes: TextTree<Bucket<Subscriber>> = new TextTree(true)
  readonly #folded: Map<string, Bucket<Subscriber>[]> = new Map()
  readonly #foldedPrefixes: TextTree<Bucket<Subscriber>> = new TextTree(false)
  readonly #foldedSuffixes: TextTree<Bucket<Subscriber>> = new TextTree(true)
  readonly #wildcards: WildcardIndex<Bucket<Subscriber>> = new WildcardIndex()
  readonly #numbers: NumberIndex<Bucket<Subscriber>> = new NumberIndex()
  readonly #exclusions: Bucket<Subscriber>[] = []
  #numberTexts = 0
  /** How many alternatives ignore case. */
  #folds = 0
  #exists: Bucket<Subscriber> | null = null

  /** Whether no subscriber is left. */
  get isEmpty(): boolean {
    return this.#addresses.isEmpty && this.#strings.size + this.#numbers.size + this.#others.size === 0
  }

  /**
   * The estimated cost of finding a pattern by this alternative: the events that satisfy it, plus the patterns that are
   * already found by it.
   */
  costOf(matcher: Matcher): number {
    const waiting = this.#find(matcher)?.subscribers.length ?? 0
    const halfOpen = matcher.kind === 'range' && !(Number.isFinite(matcher.low) && Number.isFinite(matcher.high))
    return (halfOpen ? HALF_OPEN_COST : COST[matcher.kind]) + waiting
  }

  /** Subscribe to values that satisfy an alternative. */
  add(matcher: Matcher, subscriber: Subscriber): void {
    const found = this.#find(matcher)
    if (found === undefined) this.#insert({ matcher, subscribers: [subscriber] })
    else found.subscribers.push(subscriber)
  }

  remove(matcher: Matcher, subscriber: Subscriber): void {
    const bucket = this.#find(matcher)
    if (bucket === undefined) return
    const index = bucket.subscribers.lastIndexOf(subscriber)
    if (index < 0) return
    const last = bucket.subscribers.pop() as Subscriber
    if (index < bucket.subscribers.length) bucket.subscribers[index] = last
    if (bucket.subscribers.length === 0) this.#delete(bucket)
  }

  /** The subscribers to the absence of the field. */
  get absence(): Bucket<Subscriber> | undefined {
    return this.#others.get('absent')
  }

  #find(matcher: Matcher): Bucket<Subscriber> | undefined {
    if (matcher.kind === 'string') return this.#strings.get(matcher.text)
    if (matcher.kind === 'number') return this.#numbers.at(matcher.value)
    if (matcher.kind === 'address' || matcher.kind === 'cidr') return this.#addresses.at(blockOf(matcher))
    return this.#others.get(matcherKey(matcher))
  }

  #insert(bucket: Bucket<Subscriber>): void {
    const { matcher } = bucket
    if ('folded' in matcher) this.#folds++
    if (matcher.kind === 'string') this.#strings.set(matcher.text, bucket)
    else if (matcher.kind === 'number') this.#numbers.add(matcher, bucket)
    else if (matcher.kind === 'address' || matcher.kind === 'cidr') this.#addresses.add(blockOf(matcher), bucket)
    else this.#others.set(matcherKey(matcher), bucket)
    switch (matcher.kind) {
      case 'prefix':
        return this.#prefixes.add(matcher.text, bucket)
      case 'suffix':
        return this.#suffixes.add(matcher.text, bucket)
      case 'equals-ignore-case':
        return this.#insertFolded(matcher.folded.key, bucket)
      case 'prefix-ignore-case':
        return this.#foldedPrefixes.add(matcher.folded.key, bucket)
      case 'suffix-ignore-case':
        return this.#foldedSuffixes.add(matcher.folded.key, bucket)
      case 'wildcard':
        return this.#wildcards.add(matcher.wildcard, bucket)
      case 'range':
        return this.#numbers.add(matcher, bucket)
      case 'number-text':
        this.#numberTexts++
        return
      case 'exists':
        this.#exists = bucket
        return
      case 'string':
      case 'number':
      case 'address':
      case 'cidr':
      case 'literal':
      case 'absent':
        // It is only in the map.
        return
      case 'but-strings':
      case 'but-numbers':
      case 'but-text':
        this.#exclusions.push(bucket)
    }
  }

  #delete(bucket: Bucket<Subscriber>): void {
    const { matcher } = bucket
    if ('folded' in matcher) this.#folds--
    if (matcher.kind === 'string') this.#strings.delete(matcher.text)
    else if (matcher.kind === 'number') this.#numbers.remove(matcher, bucket)
    else if (matcher.kind === 'address' || matcher.kind === 'cidr') this.#addresses.remove(blockOf(matcher))
    else this.#others.delete(matcherKey(matcher))
    switch (matcher.kind) {
      case 'prefix':
        return this.#prefixes.remove(matcher.text, bucket)
      case 'suffix':
        return this.#suffixes.remove(matcher.text, bucket)
      case 'equals-ignore-case':
        return this.#deleteFolded(matcher.folded.key, bucket)
      case 'prefix-ignore-case':
        return this.#foldedPrefixes.remove(matcher.folded.key, bucket)
      case 'suffix-ignore-case':
        return this.#foldedSuffixes.remove(matcher.folded.key, bucket)
      case 'wildcard':
        return this.#wildcards.remove(bucket)
      case 'range':
        return this.#numbers.remove(matcher, bucket)
      case 'number-text':
        this.#numberTexts--
        return
      case 'exists':
        this.#exists = null
        return
      case 'string':
      case 'number':
      case 'address':
      case 'cidr':
      case 'literal':
      case 'absent':
        // It is only in the map.
        return
      case 'but-strings':
      case 'but-numbers':
      case 'but-text':
        this.#exclusions.splice(this.#exclusions.indexOf(bucket), 1)
    }
  }

  #insertFolded(key: string, bucket: Bucket<Subscriber>): void {
    const buckets = this.#folded.get(key)
    if (buckets === undefined) this.#folded.set(key, [bucket])
    else buckets.push(bucket)
  }

  #deleteFolded(key: string, bucket: Bucket<Subscriber>): void {
    const rest = (this.#folded.get(key) ?? []).filter((each) => each !== bucket)
    if (rest.length === 0) this.#folded.delete(key)
    else this.#folded.set(key, rest)
  }

  /** Append to `found` the buckets of all alternatives that a value of the event satisfies. */
  collect(fields: EventFields, index: number, found: Bucket<Subscriber>[]): void {
    const kind = fields.kindOf(index)
    if (this.#exists !== null) found.push(this.#exists)
    if (kind <= KIND.encoded) this.#collectString(fields.stringOf(index), found)
    else if (kind === KIND.number) this.#collectNumber(fields, index, found)
    else if (this.#others.size > 0) {
      const literal = this.#others.get(
        kind === KIND.null ? LITERAL_KEYS.null : kind === KIND.true ? LITERAL_KEYS.true : LITERAL_KEYS.false,
      )
      if (literal !== undefined) found.push(literal)
    }
    if (this.#exclusions.length > 0) this.#collectExclusions(fields, index, found)
  }

  #collectExclusions(fields: EventFields, index: number, found: Bucket<Subscriber>[]): void {
    const value = fields.valueAt(index)
    for (const bucket of this.#exclusions) if (matchesValue(bucket.matcher, value)) found.push(bucket)
  }

  #collectString(text: string, found: Bucket<Subscriber>[]): void {
    if (this.#strings.size > 0) {
      const exact = this.#strings.get(text)
      if (exact !== undefined) found.push(exact)
    }
    if (this.#others.size > 0) {
      if (this.#prefixes.size > 0) this.#prefixes.collect(text, found)
      if (this.#suffixes.size > 0) this.#suffixes.collect(text, found)
      if (this.#wildcards.size + this.#folds > 0) this.#collectUncertain(text, found)
    }
    if (!this.#addresses.isEmpty) this.#addresses.collect(text, found)
  }

  /** Alternatives that are found by a part of their text and must then be checked. */
  #collectUncertain(text: string, found: Bucket<Subscriber>[]): void {
    const certain = found.length
    if (this.#wildcards.size > 0) this.#wildcards.collect(text, found)
    if (this.#folds > 0) {
      const key = foldKey(text)
      for (const bucket of this.#folded.get(key) ?? NONE) found.push(bucket as Bucket<Subscriber>)
      if (this.#foldedPrefixes.size > 0) this.#foldedPrefixes.collect(key, found)
      if (this.#foldedSuffixes.size > 0) this.#foldedSuffixes.collect(key, found)
    }
    let kept = certain
    for (let at = certain; at < found.length; at++) {
      const bucket = found[at] as Bucket<Subscriber>
      if (matchesText(bucket.matcher as TextMatcher, text)) found[kept++] = bucket
    }
    found.length = kept
  }

  #collectNumber(fields: EventFields, index: number, found: Bucket<Subscriber>[]): void {
    if (this.#numbers.size + this.#numberTexts === 0) return
    const before = found.length
    if (this.#numbers.size > 0) this.#numbers.collect(fields, index, found)
    if (this.#numberTexts === 0 && isSettled(found, before, fields.stamp)) return
    if (fields.isComparable(index)) return
    found.length = before
    const written = this.#others.get(matcherKey({ kind: 'number-text', text: fields.numberTextOf(index) }))
    if (written !== undefined) found.push(written)
  }
}

/** An address is a block with all bits fixed. */
function blockOf(matcher: Extract<Matcher, { readonly kind: 'address' | 'cidr' }>): CidrBlock {
  return matcher.kind === 'cidr' ? matcher.block : { width: matcher.bits.length, bits: matcher.bits }
}

/** Whether all rules of these buckets match already, so that it does not matter whether the number is exact. */
function isSettled<Subscriber extends Indexed>(
  found: readonly Bucket<Subscriber>[],
  from: number,
  stamp: number,
): boolean {
  for (let at = from; at < found.length; at++) {
    for (const { rule } of (found[at] as Bucket<Subscriber>).subscribers) if (rule.matchedIn !== stamp) return false
  }
  return true
}

const NONE: readonly never[] = []
const LITERAL_KEYS = {
  true: matcherKey({ kind: 'literal', value: true }),
  false: matcherKey({ kind: 'literal', value: false }),
  null: matcherKey({ kind: 'literal', value: null }),
} as const
