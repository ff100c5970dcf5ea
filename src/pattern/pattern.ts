/**
 * One pattern, compiled to match many events. For many patterns over the same events use `RuleIndex`.
 */
import { type Leaf, leafOf, satisfies } from './combination.ts'
import { type EventInput, EventReader } from './event-reader.ts'
import { nodeAt, PathNode } from './path-tree.ts'
import { type FieldAlternatives, parsePattern } from './pattern-parser.ts'
import type { PatternJson } from './pattern-type.ts'

/** A pattern ready to match. */
export interface CompiledPattern {
  /**
   * Whether the event matches.
   *
   * @param event a parsed CloudEvent, or its JSON as text or UTF-8 bytes. Text is not parsed into objects: fields that
   * the pattern does not name are skipped, and numbers count as they are written.
   * @throws INVALID_EVENT when the event is not a JSON object, or its text is malformed where the pattern looks
   */
  matches(event: EventInput): boolean
}

/**
 * Compile an event pattern, the language of AWS EventBridge as event-ruler 2 defines it, over a CloudEvent's attributes
 * and `data`.
 *
 * The pattern is checked completely. The time of matching is proportional to the size of the event, also for a hostile
 * pattern.
 *
 * @param pattern an object, or JSON text (which keeps integers beyond 2^53 as written)
 * @throws INVALID_PATTERN when it is malformed or too complex; `details.path` says where, `details.reason` why
 * @example
 * ```ts
 * import { compilePattern } from 'millrace/pattern'
 *
 * const large = compilePattern({ type: ['cart.item.added'], data: { quantity: [{ numeric: ['>', 100] }] } })
 * large.matches({ type: 'cart.item.added', data: { sku: 'tea', quantity: 200 } }) // true
 * large.matches('{"type":"cart.item.added","data":{"sku":"tea","quantity":2}}') // false
 * ```
 * @see docs/patterns.md
 */
export function compilePattern(pattern: PatternJson | string): CompiledPattern {
  const root = new PathNode('', null)
  const leaves = new Map<FieldAlternatives, Leaf>()
  const combinations = parsePattern(pattern).map((combination) =>
    combination.map((field) => sharedLeaf(field, root, leaves)),
  )
  const reader = new EventReader()
  return {
    matches(event) {
      reader.read(event, root)
      return combinations.some((leaves) => satisfies(leaves, reader.fields))
    },
  }
}

/** `$or` puts one field into many combinations. Its alternatives are evaluated once per event. */
function sharedLeaf(field: FieldAlternatives, root: PathNode, leaves: Map<FieldAlternatives, Leaf>): Leaf {
  let leaf = leaves.get(field)
  if (leaf === undefined) {
    const node = nodeAt(root, field.path)
    node.uses++
    leaf = leafOf(node, field.alternatives)
    leaves.set(field, leaf)
  }
  return leaf
}
