/**
 * Decides whether one event satisfies one combination of fields.
 *
 * If no field is inside an array of objects, each field is checked independently. Otherwise all fields of a combination
 * must come from the same element of any array that they share.
 *
 * The search takes fields in the order of their paths. Each chosen value binds the array elements that contain it.
 * `exists: false` looks only at elements that the earlier fields left open, as event-ruler defines it. The search never
 * takes the same position with the same bindings twice, so its time is polynomial for any event.
 */
import type { EventFields } from './event-fields.ts'
import { type Matcher, matchesValue } from './matcher.ts'
import type { PathNode } from './path-tree.ts'

/** The alternatives of one field, shared by all combinations that have the same ones. */
export interface Leaf {
  readonly node: PathNode
  readonly alternatives: readonly Matcher[]
  /** The plain strings among the alternatives, if there are many; the other alternatives are in `asked`. */
  readonly strings: ReadonlySet<string> | null
  readonly asked: readonly Matcher[]
  /** Whether the absence of the field is one of the alternatives. */
  readonly absent: boolean
  /** The event to which `satisfied` refers. */
  stamp: number
  satisfied: boolean
}

/** More plain strings than this are looked up in a set instead of compared one by one. */
const COMPARED_STRINGS_MAX = 8

export function leafOf(node: PathNode, alternatives: readonly Matcher[]): Leaf {
  const texts = alternatives.flatMap((each) => (each.kind === 'string' ? [each.text] : []))
  const strings = texts.length > COMPARED_STRINGS_MAX ? new Set(texts) : null
  const asked = strings === null ? alternatives : alternatives.filter((each) => each.kind !== 'string')
  return {
    node,
    alternatives,
    strings,
    asked,
    absent: alternatives.some((each) => each.kind === 'absent'),
    stamp: 0,
    satisfied: false,
  }
}

function matchesAny(leaf: Leaf, fields: EventFields, index: number): boolean {
  const value = fields.valueAt(index)
  if (leaf.strings !== null && value.string !== undefined && leaf.strings.has(value.string)) return true
  for (const matcher of leaf.asked) if (matchesValue(matcher, value)) return true
  return false
}

function evaluate(leaf: Leaf, fields: EventFields): boolean {
  const count = fields.countAt(leaf.node)
  if (leaf.absent && count === 0) return true
  for (let at = 0; at < count; at++) if (matchesAny(leaf, fields, leaf.node.indexes[at] as number)) return true
  return false
}

/** Whether the field alone is satisfied, without regard to array elements. Cached for the event. */
export function isSatisfied(leaf: Leaf, fields: EventFields): boolean {
  if (leaf.stamp !== fields.stamp) {
    leaf.stamp = fields.stamp
    leaf.satisfied = evaluate(leaf, fields)
  }
  return leaf.satisfied
}

/** Record that an index has found a value of this event that satisfies the field. */
export function markSatisfied(leaf: Leaf, fields: EventFields): void {
  leaf.stamp = fields.stamp
  leaf.satisfied = true
}

/** Whether the event satisfies all fields of a combination. The fields are in the order of their paths. */
export function satisfies(leaves: readonly Leaf[], fields: EventFields): boolean {
  if (leaves.length === 1) return isSatisfied(leaves[0] as Leaf, fields)
  for (const leaf of leaves) {
    if (!isSatisfied(leaf, fields) && !(leaf.absent && fields.elementCount > 1)) return false
  }
  return fields.elementCount === 1 || new Search(leaves, fields).from(0, [])
}

/** The search starts to remember dead ends after this many steps. */
const FREE_STEPS = 64

class Search {
  readonly #leaves: readonly Leaf[]
  readonly #fields: EventFields
  #steps = 0
  readonly #deadEnds: Set<string> = new Set()

  constructor(leaves: readonly Leaf[], fields: EventFields) {
    this.#leaves = leaves
    this.#fields = fields
  }

  /** Whether the fields from `position` on can be satisfied within the chosen elements. */
  from(position: number, chosen: readonly number[]): boolean {
    const leaf = this.#leaves[position]
    if (leaf === undefined) return true
    if (++this.#steps <= FREE_STEPS) return this.#try(leaf, position, chosen)
    const open = this.#relevant(position, chosen)
    const key = `${position}:${open.join()}`
    if (this.#deadEnds.has(key)) return false
    if (this.#try(leaf, position, open)) return true
    this.#deadEnds.add(key)
    return false
  }

  #try(leaf: Leaf, position: number, chosen: readonly number[]): boolean {
    const fields = this.#fields
    const { indexes } = leaf.node
    const count = fields.countAt(leaf.node)
    let present = false
    let last = -1
    let at = 0
    while (at < count) {
      const index = indexes[at] as number
      const element = fields.elements[index] as number
      const next = this.#nextConsistent(index, element, chosen)
      if (next > index) {
        at = firstFrom(indexes, at + 1, count, next)
        continue
      }
      at++
      present = true
      // Another value of the same element as the last match leads to the same result.
      if (element === last || !matchesAny(leaf, fields, index)) continue
      last = element
      if (this.from(position + 1, element === 0 || chosen.includes(element) ? chosen : [...chosen, element]))
        return true
    }
    return leaf.absent && !present && this.from(position + 1, chosen)
  }

  /** The index itself if its element is consistent with the chosen ones; otherwise the next index that may be. */
  #nextConsistent(index: number, element: number, chosen: readonly number[]): number {
    const { elementParent, elementArray, elementFirst, arrayEnd } = this.#fields
    for (const one of chosen) {
      for (let mine = element; mine !== 0; mine = elementParent[mine] as number) {
        const array = elementArray[mine] as number
        for (let other = one; other !== 0; other = elementParent[other] as number) {
          if (elementArray[other] !== array || other === mine) continue
          const first = elementFirst[other] as number
          return index < first ? first : (arrayEnd[array] as number)
        }
      }
    }
    return index
  }

  /** The chosen elements that still restrict a field from `position` on, in ascending order. */
  #relevant(position: number, chosen: readonly number[]): readonly number[] {
    const { elementParent, elementArray, arrayNode } = this.#fields
    const open = new Set<number>()
    for (const one of chosen) {
      let element = one
      while (element !== 0 && !this.#isAbove(arrayNode[elementArray[element] as number] as PathNode, position))
        element = elementParent[element] as number
      if (element !== 0) open.add(element)
    }
    return [...open].sort((a, b) => a - b)
  }

  /** Whether a field from `position` on is at or below a node. */
  #isAbove(node: PathNode, position: number): boolean {
    for (let at = position; at < this.#leaves.length; at++) {
      let below: PathNode | null = (this.#leaves[at] as Leaf).node
      while (below !== null && below.depth > node.depth) below = below.parent
      if (below === node) return true
    }
    return false
  }
}

/** The first position from `low` on whose index is at least `wanted`. */
function firstFrom(indexes: readonly number[], low: number, high: number, wanted: number): number {
  let first = low
  let end = high
  while (first < end) {
    const middle = (first + end) >>> 1
    if ((indexes[middle] as number) < wanted) first = middle + 1
    else end = middle
  }
  return first
}
