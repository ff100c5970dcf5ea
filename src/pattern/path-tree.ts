/**
 * The tree of field names that patterns name. The scanner descends into an event only where this tree has a branch; each node also
 * holds, during one match, where the values of its field are in `EventFields`.
 */

import type { IndexedCombination } from './rule-index.ts'
import type { ValueIndex } from './value-index.ts'

/** Up to so many branches are compared one by one; beyond, they are found by hash. */
const FEW = 6

const encoder = new TextEncoder()

export class PathNode {
  readonly name: string
  readonly parent: PathNode | null
  /** How deep it lies; the root is at 0. */
  readonly depth: number
  readonly children: Map<string, PathNode> = new Map()
  /** How many patterns have alternatives right here. */
  uses = 0

  /** What a `RuleIndex` keeps for the field. */
  index: ValueIndex<IndexedCombination> | null = null

  /** The event whose values `indexes` and `count` are about; compare with `EventFields.stamp`. */
  stamp = 0
  count = 0
  readonly indexes: number[] = []
  /** How many nodes lie below. */
  branches = 0
  /** The object of the event in which the name was last seen, so that duplicate keys are noticed. */
  seenIn = 0

  readonly bytes: Uint8Array
  /** All branches, while they are few; empty once they are found by hash. */
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

  /** The branch of a name, made when it is missing. */
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

  /** Take out a node that nothing uses any more, and those above it that then hold nothing. */
  prune(): void {
    const { parent } = this
    if (this.uses > 0 || this.children.size > 0 || parent === null) return
    parent.#remove(this)
    parent.prune()
  }

  /** The branch whose name is written, without escapes, in `bytes` from `start` to `end`. */
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
   * Texts of which one stands wherever a name below stands as a key, with one character for each byte. Where a node has branches, its name
   * may also be followed by a dot.
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

/** The node of a path of names joined by dots, made when it is missing. */
export function nodeAt(root: PathNode, path: string): PathNode {
  let node = root
  for (const name of path.split('.')) node = node.branch(name)
  return node
}
