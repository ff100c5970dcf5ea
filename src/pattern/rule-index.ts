/**
 * Matches one event against many patterns at once.
 *
 * The fields of all patterns form one tree of names, with which the event's text is read once; fields that no pattern
 * names are skipped. Each combination of a pattern is registered at one of its fields, the most selective one, in that
 * field's `ValueIndex`. When a value satisfies it there, its other fields are checked. So the cost of an event depends
 * on what its own values find, and hardly on the number of patterns.
 *
 * Invariant: a matching combination has a value (or, if all alternatives of all its fields allow it, an absence) that
 * finds it at the field where it is registered. Equal fields of different patterns share one leaf, which is evaluated
 * once per event.
 */
import { type Leaf, leafOf, markSatisfied, satisfies } from './combination.ts'
import { type EventInput, EventReader } from './event-reader.ts'
import { matcherKey } from './matcher.ts'
import { nodeAt, PathNode } from './path-tree.ts'
import { type Combination, type FieldAlternatives, parsePattern } from './pattern-parser.ts'
import type { PatternJson } from './pattern-type.ts'
import { type Bucket, ValueIndex } from './value-index.ts'

interface IndexedRule {
  readonly name: string
  /** Increases with every rule added. Matches are returned in this order. */
  readonly serial: number
  combinations: readonly IndexedCombination[]
  /** The last event that matched. */
  matchedIn: number
}

export interface IndexedCombination {
  readonly rule: IndexedRule
  readonly leaves: readonly SharedLeaf[]
  /** The leaf at which the combination is registered. */
  readonly access: SharedLeaf
}

interface SharedLeaf extends Leaf {
  readonly key: string
  /** How many combinations use it. */
  users: number
}

/**
 * An index of many patterns by name, changed while it is used.
 *
 * Memory and the time of `add` and `remove` depend on the pattern, not on how many there are.
 *
 * @example
 * ```ts
 * import { RuleIndex } from 'millrace/pattern'
 *
 * const rules = new RuleIndex()
 * rules.add('large', { data: { quantity: [{ numeric: ['>', 100] }] } })
 * rules.add('tea', { data: { sku: ['tea'] } })
 * rules.match('{"data":{"sku":"tea","quantity":200}}') // ['large', 'tea']
 * rules.remove('large') // true
 * ```
 * @see docs/patterns.md
 */
export class RuleIndex {
  readonly #root: PathNode = new PathNode('', null)
  readonly #rules: Map<string, IndexedRule> = new Map()
  readonly #leaves: Map<string, SharedLeaf> = new Map()
  /** Fields whose absence can satisfy a combination. */
  readonly #absences: Set<PathNode> = new Set()
  readonly #reader: EventReader = new EventReader()
  readonly #found: Bucket<IndexedCombination>[] = []
  #serial = 0

  /** The number of patterns. */
  get size(): number {
    return this.#rules.size
  }

  /** Whether there is a pattern with this name. */
  has(name: string): boolean {
    return this.#rules.has(name)
  }

  /**
   * Add a pattern under a name. It replaces a pattern that has the name already.
   *
   * @param pattern an object, or JSON text (which keeps integers beyond 2^53 as written)
   * @throws INVALID_PATTERN when it is malformed or too complex; the index is then unchanged
   */
  add(name: string, pattern: PatternJson | string): void {
    const combinations = parsePattern(pattern)
    this.remove(name)
    const rule: IndexedRule = { name, serial: this.#serial++, combinations: [], matchedIn: 0 }
    const keys = new Map<FieldAlternatives, string>()
    rule.combinations = combinations.map((combination) => this.#insert(rule, combination, keys))
    this.#rules.set(name, rule)
  }

  /** Remove the pattern of a name; `false` when there is none. */
  remove(name: string): boolean {
    const rule = this.#rules.get(name)
    if (rule === undefined) return false
    this.#rules.delete(name)
    for (const combination of rule.combinations) this.#delete(combination)
    return true
  }

  /**
   * The names of all patterns that the event matches, in the order in which they were added.
   *
   * @param event a parsed CloudEvent, or its JSON as text or UTF-8 bytes. Text is not parsed into objects, and numbers
   * count as they are written. Parts that no pattern reads are assumed to be valid JSON.
   * @throws INVALID_EVENT when the event is not a JSON object, or its text is malformed where patterns look
   */
  match(event: EventInput): string[] {
    const matched = this.#matchRules(event)
    const names: string[] = []
    if (matched.length > 1) order(matched)
    for (let at = 0; at < matched.length; at++) names.push((matched[at] as IndexedRule).name)
    return names
  }

  #matchRules(event: EventInput): IndexedRule[] {
    const { fields } = this.#reader
    this.#reader.read(event, this.#root)
    const matched: IndexedRule[] = []
    const found = this.#found
    found.length = 0
    for (let index = 0; index < fields.count; index++) {
      const values = (fields.nodes[index] as PathNode).index
      if (values === null) continue
      values.collect(fields, index, found)
      if (found.length === 0) continue
      for (let at = 0; at < found.length; at++)
        this.#check((found[at] as Bucket<IndexedCombination>).subscribers, matched, true)
      found.length = 0
    }
    for (const node of this.#absences) {
      const absence = node.index?.absence
      // In an array of objects, a field can be absent from one element and present in another.
      if (absence !== undefined && (fields.countAt(node) === 0 || fields.elementCount > 1))
        this.#check(absence.subscribers, matched, false)
    }
    return matched
  }

  /** Check the combinations that were found, except those of rules that already match. */
  #check(combinations: readonly IndexedCombination[], matched: IndexedRule[], satisfied: boolean): void {
    const { fields } = this.#reader
    for (let at = 0; at < combinations.length; at++) {
      const { rule, leaves, access } = combinations[at] as IndexedCombination
      if (rule.matchedIn === fields.stamp) continue
      if (satisfied) markSatisfied(access, fields)
      if (!satisfies(leaves, fields)) continue
      rule.matchedIn = fields.stamp
      matched.push(rule)
    }
  }

  #insert(rule: IndexedRule, combination: Combination, keys: Map<FieldAlternatives, string>): IndexedCombination {
    const leaves = combination.map((field) => this.#leaf(field, keys))
    const access = cheapest(leaves)
    const indexed: IndexedCombination = { rule, leaves, access }
    access.node.index ??= new ValueIndex()
    for (const matcher of access.alternatives) access.node.index.add(matcher, indexed)
    if (access.absent) this.#absences.add(access.node)
    return indexed
  }

  #delete(combination: IndexedCombination): void {
    const { leaves, access } = combination
    const { node } = access
    for (const matcher of access.alternatives) node.index?.remove(matcher, combination)
    if (access.absent && node.index?.absence === undefined) this.#absences.delete(node)
    if (node.index?.isEmpty === true) node.index = null
    for (const leaf of leaves) this.#release(leaf)
  }

  /** The leaf of a field, shared by all combinations with the same alternatives for it. */
  #leaf(field: FieldAlternatives, keys: Map<FieldAlternatives, string>): SharedLeaf {
    let key = keys.get(field)
    if (key === undefined) {
      key = JSON.stringify([field.path, ...field.alternatives.map(matcherKey)])
      keys.set(field, key)
    }
    let leaf = this.#leaves.get(key)
    if (leaf === undefined) {
      const node = nodeAt(this.#root, field.path)
      node.uses++
      leaf = { ...leafOf(node, field.alternatives), key, users: 0 }
      this.#leaves.set(key, leaf)
    }
    leaf.users++
    return leaf
  }

  #release(leaf: SharedLeaf): void {
    if (--leaf.users > 0) return
    this.#leaves.delete(leaf.key)
    leaf.node.uses--
    leaf.node.prune()
  }
}

/** Sort rules by when they were added: a few by insertion, because they are mostly in order, many by `sort`. */
function order(rules: IndexedRule[]): void {
  if (rules.length > 16) {
    rules.sort((a, b) => a.serial - b.serial)
    return
  }
  for (let at = 1; at < rules.length; at++) {
    const rule = rules[at] as IndexedRule
    let slot = at
    for (; slot > 0 && (rules[slot - 1] as IndexedRule).serial > rule.serial; slot--)
      rules[slot] = rules[slot - 1] as IndexedRule
    rules[slot] = rule
  }
}

/** The most selective field of a combination: the one that finds the combination in vain least often. */
function cheapest(leaves: readonly SharedLeaf[]): SharedLeaf {
  let best = leaves[0] as SharedLeaf
  let least = Number.POSITIVE_INFINITY
  for (const leaf of leaves) {
    let cost = 0
    const values = leaf.node.index ?? NOBODY
    for (const matcher of leaf.alternatives) cost += values.costOf(matcher)
    if (cost < least) {
      best = leaf
      least = cost
    }
  }
  return best
}

const NOBODY: ValueIndex<IndexedCombination> = new ValueIndex()
