/**
 * A radix tree that finds all texts with which a value begins (or, backward, ends), in one walk over the value,
 * independent of their number. Each node has a run of characters; texts share the nodes of their common beginning.
 */

interface TreeNode<Item> {
  /** The characters from the parent to here, in the order of the walk. */
  label: string
  children: Map<number, TreeNode<Item>> | null
  items: Item[] | null
}

function nodeOf<Item>(label: string, items: Item[] | null): TreeNode<Item> {
  return { label, children: null, items }
}

export class TextTree<Item> {
  readonly #backward: boolean
  readonly #root: TreeNode<Item> = nodeOf<Item>('', null)
  #size = 0

  constructor(backward: boolean) {
    this.#backward = backward
  }

  get size(): number {
    return this.#size
  }

  /** The number of items with exactly this text. */
  countAt(text: string): number {
    return this.#path(text)?.at(-1)?.items?.length ?? 0
  }

  add(text: string, item: Item): void {
    const walk = this.#walkOf(text)
    let node = this.#root
    let at = 0
    while (at < walk.length) {
      const first = walk.charCodeAt(at)
      const child = node.children?.get(first)
      if (child === undefined) {
        const leaf = nodeOf<Item>(walk.slice(at), null)
        node.children ??= new Map()
        node.children.set(first, leaf)
        node = leaf
        break
      }
      const shared = sharedLength(child.label, walk, at)
      if (shared < child.label.length) split(child, shared)
      at += shared
      node = child
    }
    if (node.items === null) node.items = [item]
    else node.items.push(item)
    this.#size++
  }

  remove(text: string, item: Item): void {
    const path = this.#path(text)
    const node = path?.at(-1)
    const index = node?.items?.indexOf(item) ?? -1
    if (path === null || node === undefined || node.items === null || index < 0) return
    this.#size--
    node.items.splice(index, 1)
    if (node.items.length > 0) return
    node.items = null
    const parent = path.at(-2)
    if (parent === undefined) return
    if (node.children === null) {
      parent.children?.delete(node.label.charCodeAt(0))
      if (parent.children?.size === 0) parent.children = null
      if (parent !== this.#root) merge(parent)
    } else {
      merge(node)
    }
  }

  /** Append to `found` the items of all texts with which the value begins (or ends). */
  collect(value: string, found: Item[]): void {
    const { length } = value
    const last = length - 1
    const backward = this.#backward
    let node = this.#root
    let at = 0
    for (;;) {
      const { items } = node
      if (items !== null) for (let index = 0; index < items.length; index++) found.push(items[index] as Item)
      if (node.children === null || at >= length) return
      const child = node.children.get(value.charCodeAt(backward ? last - at : at))
      if (child === undefined) return
      const { label } = child
      if (label.length > length - at) return
      for (let offset = 1; offset < label.length; offset++) {
        const position = at + offset
        if (label.charCodeAt(offset) !== value.charCodeAt(backward ? last - position : position)) return
      }
      at += label.length
      node = child
    }
  }

  #walkOf(text: string): string {
    if (!this.#backward) return text
    let reversed = ''
    for (let at = text.length - 1; at >= 0; at--) reversed += text[at]
    return reversed
  }

  /** The nodes from the root to the one of exactly this text. */
  #path(text: string): TreeNode<Item>[] | null {
    const walk = this.#walkOf(text)
    const path = [this.#root]
    let at = 0
    while (at < walk.length) {
      const child: TreeNode<Item> | undefined = path[path.length - 1]?.children?.get(walk.charCodeAt(at))
      if (child === undefined || !walk.startsWith(child.label, at)) return null
      path.push(child)
      at += child.label.length
    }
    return path
  }
}

function sharedLength(label: string, text: string, from: number): number {
  let length = 0
  while (length < label.length && label.charCodeAt(length) === text.charCodeAt(from + length)) length++
  return length
}

/** Split a node after `at` characters of its label. */
function split<Item>(node: TreeNode<Item>, at: number): void {
  const lower: TreeNode<Item> = { label: node.label.slice(at), children: node.children, items: node.items }
  node.label = node.label.slice(0, at)
  node.children = new Map([[lower.label.charCodeAt(0), lower]])
  node.items = null
}

/** Merge a node without items with its only child. */
function merge<Item>(node: TreeNode<Item>): void {
  if (node.items !== null || node.children?.size !== 1) return
  for (const child of node.children.values()) {
    node.label += child.label
    node.items = child.items
    node.children = child.children
    return
  }
}
