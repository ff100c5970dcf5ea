/**
 * Matches one event against many patterns at once.
 *
 * All patterns' fields are one tree of names, by which the event's text is read once; what no pattern names is skipped. Each combination
 * of a pattern waits at one of its fields, the one least likely to let it through, in that field's `ValueIndex`. A value that satisfies it
 * there brings the combination up, and only then its other fields are asked. So an event costs what its own values find, nearly
 * independent of how many patterns there are.
 *
 * Invariant: a combination that matches has a value (or, where all alternatives of all its fields allow it, an absence) that finds it at
 * the field where it waits. Equal fields of different patterns are one leaf, evaluated once an event.
 */
import { type Leaf, leafOf, markSatisfied, satisfies } from './combination.ts'
import { type EventInput, EventReader } from './event-reader.ts'
import { matcherKey } from './matcher.ts'
import { nodeAt, PathNode } from './path-tree.ts'
import { type Combination, type FieldAlternatives, parsePattern } from './pattern-parser.ts'
import type { PatternJson } from './pattern-type.ts'
import { type Bucket, ValueIndex } from './value-index.ts'

interface Rule {
  readonly name: string
  /** Grows with every rule added; matches are returned in this order. */
  readonly serial: number
  combinations: readonly IndexedCombination[]
  /** The event that last matched. */
  matchedIn: number
}

export interface IndexedCombination {
  readonly rule: Rule
  readonly leaves: readonly SharedLeaf[]
  /** Where it waits to be found. */
  readonly access: SharedLeaf
}

interface SharedLeaf extends Leaf {
  readonly key: string
  /** How many combinations have it. */
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
  readonly #rules: Map<string, Rule> = new Map()
  readonly #leaves: Map<string, SharedLeaf> = new Map()
  /** Fields whose absence brings up combinations. */
  readonly #absences: Set<PathNode> = new Set()
  readonly #reader: EventReader = new EventReader()
  readonly #found: Bucket<IndexedCombination>[] = []
  #serial = 0

  /** How many patterns there are. */
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
    const rule: Rule = { name, serial: this.#serial++, combinations: [], matchedIn: 0 }
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
   * @param event a parsed CloudEvent, or its JSON as text or UTF-8 bytes. Text is not parsed into objects, and numbers count as they are
   * written; text is taken to be valid JSON where no pattern looks.
   * @throws INVALID_EVENT when the event is no JSON object, or its text is broken where patterns look
   */
  match(event: EventInput): string[] {
    const matched = this.#matchRules(event)
    const names: string[] = []
    if (matched.length > 1) order(matched)
    for (let at = 0; at < matched.length; at++) names.push((matched[at] as Rule).name)
    return names
  }

  #matchRules(event: EventInput): Rule[] {
    const { fields } = this.#reader
    this.#reader.read(event, this.#root)
    const matched: Rule[] = []
    const found = this.#found
    found.length = 0
    for (let index = 0; index < fields.count; index++) {
      const values = (fields.nodes[index] as PathNode).index
      if (values === null) continue
      values.collect(fields, index, found)
      if (found.length === 0) continue
      for (let at = 0; at < found.length; at++)
        this.#bringUp((found[at] as Bucket<IndexedCombination>).subscribers, matched, true)
      found.length = 0
    }
    for (const node of this.#absences) {
      const waiting = node.index?.absence
      // In an array of objects a field can be absent from one element and not from another.
      if (waiting !== undefined && (fields.countAt(node) === 0 || fields.elementCount > 1))
        this.#bringUp(waiting.subscribers, matched, false)
    }
    return matched
  }

  /** Ask the combinations that were found, but for those of rules that match already. */
  #bringUp(combinations: readonly IndexedCombination[], matched: Rule[], satisfied: boolean): void {
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

  #insert(rule: Rule, combination: Combination, keys: Map<FieldAlternatives, string>): IndexedCombination {
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

  /** The leaf of a field, shared with every combination that asks the same of it. */
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

/** Put a few rules, mostly in order, into the order in which they were added; many are left to `sort`. */
function order(rules: Rule[]): void {
  if (rules.length > 16) {
    rules.sort((a, b) => a.serial - b.serial)
    return
  }
  for (let at = 1; at < rules.length; at++) {
    const rule = rules[at] as Rule
    let place = at
    for (; place > 0 && (rules[place - 1] as Rule).serial > rule.serial; place--)
      rules[place] = rules[place - 1] as Rule
    rules[place] = rule
  }
}

/** The field by which a combination is found with least in vain. */
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
