/**
 * Finds all numeric ranges that contain a number, in time proportional to the logarithm of their count plus the number
 * of results. It is a treap ordered by lower bound, in which each node has the highest upper bound of its subtree.
 */
import type { RangeMatcher } from './matcher.ts'

interface RangeNode<Item> {
  readonly range: RangeMatcher
  readonly item: Item
  /** Orders ranges with the same lower bound; unique. */
  readonly serial: number
  readonly priority: number
  highest: number
  left: RangeNode<Item> | null
  right: RangeNode<Item> | null
}

function refresh<Item>(node: RangeNode<Item>): RangeNode<Item> {
  let { high } = node.range
  if (node.left !== null && node.left.highest > high) high = node.left.highest
  if (node.right !== null && node.right.highest > high) high = node.right.highest
  node.highest = high
  return node
}

function isBefore<Item>(node: RangeNode<Item>, low: number, serial: number): boolean {
  return node.range.low < low || (node.range.low === low && node.serial < serial)
}

/** Splits into the nodes before a position in the order, and the rest. */
function split<Item>(
  node: RangeNode<Item> | null,
  low: number,
  serial: number,
): [RangeNode<Item> | null, RangeNode<Item> | null] {
  if (node === null) return [null, null]
  if (isBefore(node, low, serial)) {
    const [first, second] = split(node.right, low, serial)
    node.right = first
    return [refresh(node), second]
  }
  const [first, second] = split(node.left, low, serial)
  node.left = second
  return [first, refresh(node)]
}

function join<Item>(first: RangeNode<Item> | null, second: RangeNode<Item> | null): RangeNode<Item> | null {
  if (first === null) return second
  if (second === null) return first
  if (first.priority > second.priority) {
    first.right = join(first.right, second)
    return refresh(first)
  }
  second.left = join(first, second.left)
  return refresh(second)
}

export class RangeTree<Item> {
  #root: RangeNode<Item> | null = null
  #serial = 0
  readonly #nodes: Map<Item, RangeNode<Item>> = new Map()

  get size(): number {
    return this.#nodes.size
  }

  /** Add an item with its range. An item has one range. */
  add(range: RangeMatcher, item: Item): void {
    const node: RangeNode<Item> = {
      range,
      item,
      serial: this.#serial++,
      priority: Math.random(),
      highest: range.high,
      left: null,
      right: null,
    }
    this.#nodes.set(item, node)
    const [first, second] = split(this.#root, range.low, node.serial)
    this.#root = join(join(first, node), second)
  }

  remove(item: Item): void {
    const node = this.#nodes.get(item)
    if (node === undefined) return
    this.#nodes.delete(item)
    const [first, rest] = split(this.#root, node.range.low, node.serial)
    const [, second] = split(rest, node.range.low, node.serial + 1)
    this.#root = join(first, second)
  }

  forEach(each: (range: RangeMatcher) => void): void {
    for (const { range } of this.#nodes.values()) each(range)
  }

  /** Append to `found` the items of all ranges that contain the number. */
  collect(value: number, found: Item[]): void {
    visit(this.#root, value, found)
  }
}

function visit<Item>(start: RangeNode<Item> | null, value: number, found: Item[]): void {
  let node = start
  while (node !== null && node.highest >= value) {
    if (node.left !== null) visit(node.left, value, found)
    const { range } = node
    if (range.low > value) return
    if ((range.lowOpen ? value > range.low : true) && (range.highOpen ? value < range.high : value <= range.high))
      found.push(node.item)
    node = node.right
  }
}
