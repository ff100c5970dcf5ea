/**
 * Checks the index's pages on disk before LMDB maps them. LMDB has no checksums and follows any page number, even
 * beyond the end of the file.
 *
 * A tree is refused if a page is not the expected one, is used twice, or is also free; if a node is outside its page;
 * if keys are not in order; if an entry's checksum is wrong; or if the number of entries differs from LMDB's count.
 *
 *     page   number (8), transaction (8), 2 bytes, kind (2), lower (2), upper (2)
 *            then 2 bytes for each node: its position from byte 24 on
 *     node   low (2), high (2), flags (2), bytes of the key (2), key
 *            in a leaf, low and high are the bytes of the value, which follows
 *            in a branch, low, high and flags are the number of a page
 *            flag 1 in a leaf: the value is page number (8), transaction (8), count of pages (8) of where it is stored
 *     meta   a page with, from byte 24: magic (4), version (4), address (8), bytes of the map (8), the free pages' tree
 *            and the main tree (48 each), last page (8), transaction (8)
 *     tree   4 bytes, flags (2), depth (2), branch pages, leaf pages, overflow pages, entries, root (8 each)
 *     free   by transaction: count (8), then page numbers (8 each); 0 is nothing, and -n says that n pages begin at the
 *            number that follows
 *
 * This is LMDB's data version 2, as lmdb 3 writes it. Files of another version are not checked.
 */
import { crc32 } from 'node:zlib'

/** Reads `count` pages from a page number on, or fewer if the file ends. */
export type PageSource = (page: number, count: number) => Buffer

export const PAGE_BYTES = 4096
const META_MAGIC = 0xbeefc0de
export const META_BYTES = 160
const VERSION = 2
export const PAGE_HEAD_BYTES = 24
export const NODE_HEAD_BYTES = 8
export const BRANCH = 1
export const LEAF = 2
const [OVERFLOW, META] = [4, 8]
/** The flag for numeric keys, as the list of free pages has them, and a flag of lmdb's. */
const FREE_FLAGS = 0x4008
const MAP_BYTES_MAX = 2 ** 47
export const BIG = 1
const NO_PAGE = 0xffffffffffffffffn
const FREE_TREE = 48
export const MAIN_TREE = 96

interface Tree {
  readonly depth: number
  readonly branches: number
  readonly leaves: number
  readonly entries: number
  readonly root: bigint
}

export interface WalkOptions {
  /** Whether to check the leaves of the main tree too. Without them, entries are not counted. */
  readonly leaves: boolean
}

/** A meta page, from which LMDB finds the trees of a transaction. */
interface IndexMeta {
  /** The page's position in the file. */
  readonly at: number
  readonly transaction: number
  readonly lastPage: number
}

export function newestMeta(head: Buffer): IndexMeta | null {
  const metas = [readMeta(head, 0), readMeta(head, PAGE_BYTES)].filter((meta) => meta !== null)
  return metas.length === 0 ? null : metas.reduce((a, b) => (a.transaction > b.transaction ? a : b))
}

/** LMDB's meta page, in the format of lmdb 3. */
function readMeta(head: Buffer, at: number): IndexMeta | null {
  if (head.length < at + META_BYTES || head.readUInt32LE(at + 24) !== META_MAGIC) return null
  return { at, lastPage: Number(head.readBigUInt64LE(at + 144)), transaction: Number(head.readBigUInt64LE(at + 152)) }
}

class PageProblem extends Error {}

/** What is wrong with the index, or null. */
export function indexProblem(pages: PageSource, options: WalkOptions): string | null {
  const metas = pages(0, 2)
  const meta = newestMeta(metas)
  if (meta === null) return 'it is not an LMDB file, or its header is damaged'
  try {
    const versions = [0, PAGE_BYTES].map((at) => metas.readUInt32LE(at + PAGE_HEAD_BYTES + 4))
    if (versions[0] === versions[1] && versions[0] !== VERSION) return null
    for (const at of [0, PAGE_BYTES]) checkMeta(metas.subarray(at, at + PAGE_BYTES), at / PAGE_BYTES)
    new Walk(pages, metas.subarray(meta.at, meta.at + PAGE_BYTES), options).all()
    return null
  } catch (error) {
    if (error instanceof PageProblem) return error.message
    if (error instanceof RangeError) return `the content of a page is impossible (${error.message})`
    throw error
  }
}

/**
 * Check one of the two heads; LMDB trusts both. A head is within one sector, so a power cut never leaves a half-written
 * one.
 */
function checkMeta(meta: Buffer, page: number): void {
  const mapBytes = Number(meta.readBigUInt64LE(40))
  const right =
    Number(meta.readBigUInt64LE(0)) === page &&
    (meta.readUInt16LE(18) & META) !== 0 &&
    meta.readUInt32LE(24) === META_MAGIC &&
    meta.readUInt32LE(28) === VERSION &&
    meta.readBigUInt64LE(32) === 0n &&
    mapBytes % PAGE_BYTES === 0 &&
    mapBytes >= 2 * PAGE_BYTES &&
    mapBytes < MAP_BYTES_MAX &&
    meta.readUInt32LE(FREE_TREE) === PAGE_BYTES &&
    meta.readUInt16LE(FREE_TREE + 4) === FREE_FLAGS &&
    meta.readUInt32LE(MAIN_TREE) === 0 &&
    meta.readUInt16LE(MAIN_TREE + 4) === 0
  if (!right) throw new PageProblem(`its header on page ${page} is damaged`)
}

class Walk {
  readonly #pages: PageSource
  readonly #meta: Buffer
  readonly #options: WalkOptions
  readonly #lastPage: number
  readonly #transaction: number
  readonly #used: Uint8Array
  #lastKey: Buffer | null = null
  /** The last key came from a branch, so the next key may be equal to it. */
  #lastIsFloor = false
  #entries = 0
  #leaves = 0
  #branches = 0

  constructor(pages: PageSource, meta: Buffer, options: WalkOptions) {
    this.#pages = pages
    this.#meta = meta
    this.#options = options
    this.#lastPage = Number(meta.readBigUInt64LE(144))
    this.#transaction = Number(meta.readBigUInt64LE(152))
    if (this.#lastPage > 2 ** 31) throw new PageProblem(`its last page is recorded as ${this.#lastPage}`)
    this.#used = new Uint8Array(this.#lastPage + 1)
  }

  all(): void {
    // Each of our transactions changes an entry, and so the root. An older root means that a damaged head points to it.
    const { root } = this.#readTree(MAIN_TREE)
    if (root !== NO_PAGE && Number(this.#pages(Number(root), 1).readBigUInt64LE(8)) !== this.#transaction)
      throw new PageProblem('the root of the main tree is not of the last transaction')
    this.#tree('main tree', MAIN_TREE, this.#options.leaves, (key, value) => this.#sealed(key, value))
    this.#tree('list of free pages', FREE_TREE, true, (_, value) => this.#free(value))
  }

  #tree(name: string, at: number, leaves: boolean, entry: (key: Buffer, value: Buffer) => void): void {
    const tree = this.#readTree(at)
    this.#lastKey = null
    this.#lastIsFloor = false
    this.#entries = this.#leaves = this.#branches = 0
    if (tree.root !== NO_PAGE)
      this.#page(Number(tree.root), { depth: tree.depth, leaves, byNumber: at === FREE_TREE, entry })
    const counted = `${this.#entries} entries in ${this.#leaves} + ${this.#branches} pages`
    const said = `${tree.entries} in ${tree.leaves} + ${tree.branches}`
    if (leaves && (this.#entries !== tree.entries || this.#leaves !== tree.leaves || this.#branches !== tree.branches))
      throw new PageProblem(`the ${name} has ${counted}, and should have ${said}`)
  }

  #readTree(at: number): Tree {
    const number = (offset: number): number => Number(this.#meta.readBigUInt64LE(at + offset))
    return {
      depth: this.#meta.readUInt16LE(at + 6),
      branches: number(8),
      leaves: number(16),
      entries: number(32),
      root: this.#meta.readBigUInt64LE(at + 40),
    }
  }

  #take(page: number, count: number): void {
    if (!Number.isInteger(page) || page < 2 || count < 1 || page + count - 1 > this.#lastPage)
      throw new PageProblem(`page ${page} is not one of its ${this.#lastPage + 1}`)
    for (let each = page; each < page + count; each++) {
      if (this.#used[each] === 1) throw new PageProblem(`page ${each} is used twice`)
      this.#used[each] = 1
    }
  }

  #read(page: number, count: number, kind: number): Buffer {
    this.#take(page, count)
    const bytes = this.#pages(page, count)
    if (bytes.length < count * PAGE_BYTES) throw new PageProblem(`page ${page} is beyond the end of the file`)
    if (Number(bytes.readBigUInt64LE(0)) !== page)
      throw new PageProblem(`page ${page} is recorded as page ${bytes.readBigUInt64LE(0)}`)
    if (Number(bytes.readBigUInt64LE(8)) > this.#transaction)
      throw new PageProblem(`page ${page} is of a later transaction`)
    if ((bytes.readUInt16LE(18) & (BRANCH | LEAF | OVERFLOW)) !== kind)
      throw new PageProblem(`page ${page} is of another kind`)
    return bytes
  }

  #page(
    page: number,
    walk: {
      readonly depth: number
      readonly leaves: boolean
      readonly byNumber: boolean
      readonly entry: (key: Buffer, value: Buffer) => void
    },
  ): void {
    const { depth, leaves, byNumber, entry } = walk
    if (depth < 1) throw new PageProblem(`page ${page} is below the depth of its tree`)
    if (depth === 1 && !leaves) {
      this.#take(page, 1)
      return
    }
    const bytes = this.#read(page, 1, depth === 1 ? LEAF : BRANCH)
    if (depth === 1) this.#leaves++
    else this.#branches++
    const count = bytes.readUInt16LE(20) / 2
    if (!Number.isInteger(count) || count < 1 || bytes.readUInt16LE(20) > bytes.readUInt16LE(22))
      throw new PageProblem(`page ${page} has ${count} nodes`)
    for (let index = 0; index < count; index++) {
      const at = PAGE_HEAD_BYTES + bytes.readUInt16LE(PAGE_HEAD_BYTES + 2 * index)
      const key = bytes.subarray(at + NODE_HEAD_BYTES, at + NODE_HEAD_BYTES + bytes.readUInt16LE(at + 6))
      const valueAt = at + NODE_HEAD_BYTES + bytes.readUInt16LE(at + 6)
      if (at < PAGE_HEAD_BYTES + bytes.readUInt16LE(22) || valueAt > PAGE_BYTES)
        throw new PageProblem(`a node of page ${page} is outside it`)
      if (depth === 1) {
        this.#inOrder(page, key, byNumber)
        this.#entries++
        entry(key, this.#value(page, bytes, at, valueAt))
      } else {
        if (index > 0) this.#separates(page, key, byNumber)
        this.#page(
          bytes.readUInt16LE(at) + bytes.readUInt16LE(at + 2) * 2 ** 16 + bytes.readUInt16LE(at + 4) * 2 ** 32,
          { ...walk, depth: depth - 1 },
        )
      }
    }
  }

  #value(page: number, bytes: Buffer, at: number, valueAt: number): Buffer {
    const length = bytes.readUInt16LE(at) + bytes.readUInt16LE(at + 2) * 2 ** 16
    const flags = bytes.readUInt16LE(at + 4)
    if (flags > BIG) throw new PageProblem(`a node of page ${page} is of another kind`)
    if (flags !== BIG) {
      if (valueAt + length > PAGE_BYTES) throw new PageProblem(`a value of page ${page} is outside it`)
      return bytes.subarray(valueAt, valueAt + length)
    }
    const count = Number(bytes.readBigUInt64LE(valueAt + 16))
    const first = Number(bytes.readBigUInt64LE(valueAt))
    if (PAGE_HEAD_BYTES + length > count * PAGE_BYTES)
      throw new PageProblem(`a value of page ${page} is longer than its pages`)
    return this.#read(first, count, OVERFLOW).subarray(PAGE_HEAD_BYTES, PAGE_HEAD_BYTES + length)
  }

  #inOrder(page: number, key: Buffer, byNumber: boolean): void {
    const order = this.#lastKey === null ? 1 : compare(key, this.#lastKey, byNumber)
    if (order < 0 || (order === 0 && !this.#lastIsFloor))
      throw new PageProblem(`the keys of page ${page} are not in order`)
    this.#lastKey = key
    this.#lastIsFloor = false
  }

  /** Keys before a branch's key are smaller; keys after it are not. */
  #separates(page: number, key: Buffer, byNumber: boolean): void {
    if (this.#options.leaves || byNumber) this.#inOrder(page, key, byNumber)
    this.#lastIsFloor = true
  }

  #sealed(key: Buffer, value: Buffer): void {
    const checked = value.length - 4
    if (checked < 0 || value.readUInt32LE(checked) !== crc32(value.subarray(0, checked), crc32(key)))
      throw new PageProblem(`the entry "${key.toString()}" is damaged`)
  }

  #free(value: Buffer): void {
    const count = Number(value.readBigInt64LE(0))
    if (count < 0 || 8 * (count + 1) > value.length)
      throw new PageProblem('a list of free pages is longer than possible')
    for (let index = 1; index <= count; index++) {
      const page = Number(value.readBigInt64LE(8 * index))
      if (page > 0) this.#take(page, 1)
      else if (page < 0) this.#take(Number(value.readBigInt64LE(8 * ++index)), -page)
    }
  }
}

function compare(a: Buffer, b: Buffer, byNumber: boolean): number {
  if (!byNumber) return Buffer.compare(a, b)
  const [left, right] = [a.readBigUInt64LE(0), b.readBigUInt64LE(0)]
  return left < right ? -1 : left > right ? 1 : 0
}
