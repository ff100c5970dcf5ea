/**
 * The tree of field names that patterns name. The scanner descends into an event only where this tree has a branch.
 * During a match, each node also holds the indexes of its field's values in `EventFields`.
 */

import type { IndexedCombination } from './rule-index.ts'
import type { ValueIndex } from './value-index.ts'

/** Up to this many branches are compared one by one. More are found by hash. */
const FEW = 6

const encoder = new TextEncoder()

export class PathNode {
  readonly name: string
  readonly parent: PathNode | null
  /** The node's depth; the root has depth 0. */
  readonly depth: number
  readonly children: Map<string, PathNode> = new Map()
  /** How many patterns have alternatives at this node. */
  uses = 0

  /** The index that a `RuleIndex` has for the field. */
  index: ValueIndex<IndexedCombination> | null = null

  /** The event to which `indexes` and `count` refer; compare with `EventFields.stamp`. */
  stamp = 0
  count = 0
  readonly indexes: number[] = []
  /** How many nodes are below this one. */
  branches = 0
  /** The object of the event in which the name was last seen, to notice duplicate keys. */
  seenIn = 0

  readonly bytes: Uint8Array
  /** All branches while they are few; empty if they are found by hash. */
  #few: PathNode[] = []
  #traces: readonly string[] | null = null
  readonly #byHash: Map<number, PathNode> = new Map()
  /** The next branch of the parent whose name has the same hash. */
  #sameHash: PathNode | null = null

  constructor(name: string, parent: PathNode | null) {
    this.name = name
    this.parent = parent
    this.depth = parent === null ? 0 : parent.depth + 1
    this.bytes = encoder.encode(name)
  }

  /** The branch with this name, created if it is missing. */
  branch(name: string): PathNode {
    const found = this.children.get(name)
    if (found !== undefined) return found
    const child = new PathNode(name, this)
    const key = hash(child.bytes, 0, child.bytes.length)
    child.#sameHash = this.#byHash.get(key) ?? null
    this.#byHash.set(key, child)
    this.children.set(name, child)
    this.#changed(1)
    return child
  }

  /** Remove a node that nothing uses any more, and then its ancestors if they are empty. */
  prune(): void {
    const { parent } = this
    if (this.uses > 0 || this.children.size > 0 || parent === null) return
    parent.#remove(this)
    parent.prune()
  }

  /** The branch whose name is, without escapes, the bytes from `start` to `end`. */
  find(bytes: Uint8Array, start: number, end: number): PathNode | null {
    if (this.children.size > FEW) return this.#findByHash(bytes, start, end)
    const few = this.#few
    const length = end - start
    for (let index = 0; index < few.length; index++) {
      const child = few[index] as PathNode
      if (child.bytes.length === length && sameBytes(child.bytes, bytes, start)) return child
    }
    return null
  }

  #findByHash(bytes: Uint8Array, start: number, end: number): PathNode | null {
    let child = this.#byHash.get(hash(bytes, start, end)) ?? null
    while (child !== null && !(child.bytes.length === end - start && sameBytes(child.bytes, bytes, start)))
      child = child.#sameHash
    return child
  }

  #remove(child: PathNode): void {
    this.children.delete(child.name)
    const key = hash(child.bytes, 0, child.bytes.length)
    const chain: PathNode[] = []
    for (let each = this.#byHash.get(key) ?? null; each !== null; each = each.#sameHash)
      if (each !== child) chain.push(each)
    this.#byHash.delete(key)
    for (const each of chain) {
      each.#sameHash = this.#byHash.get(key) ?? null
      this.#byHash.set(key, each)
    }
    this.#changed(-1)
  }

  #changed(by: number): void {
    this.#few = this.children.size > FEW ? [] : [...this.children.values()]
    for (let node: PathNode | null = this; node !== null; node = node.parent) {
      node.branches += by
      node.#traces = null
    }
  }

  /**
   * Strings of which at least one occurs in a text wherever a name below this node is a key. They have one character
   * for each byte. The name of a node with branches can also be followed by a dot.
   */
  get traces(): readonly string[] {
    if (this.#traces === null) {
      this.#traces = [...this.children.values()].flatMap((child) => {
        const name = Buffer.from(child.bytes).toString('latin1')
        return [child.children.size === 0 ? `${name}"` : name, ...child.traces]
      })
    }
    return this.#traces
  }
}

function sameBytes(name: Uint8Array, bytes: Uint8Array, start: number): boolean {
  for (let at = 0; at < name.length; at++) if (name[at] !== bytes[start + at]) return false
  return true
}

function hash(bytes: Uint8Array, start: number, end: number): number {
  let value = 0
  for (let at = start; at < end; at++) value = (Math.imul(value, 31) + (bytes[at] as number)) | 0
  return value ^ (value >>> 15)
}

/** The node of a path of names joined by dots, created if it is missing. */
export function nodeAt(root: PathNode, path: string): PathNode {
  let node = root
  for (const name of path.split('.')) node = node.branch(name)
  return node
}
