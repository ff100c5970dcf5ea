/**
 * The readable rest of an index that may be damaged: the entries that can be reached, and what is known about the
 * others.
 */
import { crc32 } from 'node:zlib'
import {
  BIG,
  BRANCH,
  LEAF,
  MAIN_TREE,
  META_BYTES,
  NODE_HEAD_BYTES,
  PAGE_BYTES,
  PAGE_HEAD_BYTES,
  type PageSource,
} from './index-pages.ts'

/** A range of entries that cannot be read, between two keys (exclusive); null at the ends of the index. */
export interface IndexGap {
  readonly after: string | null
  before: string | null
}

export interface IndexRemains {
  /** Entries with a valid checksum. */
  readonly entries: ReadonlyMap<string, Buffer>
  /** Keys of entries whose values are damaged. */
  readonly damaged: readonly string[]
  /** Ranges whose pages cannot be read. */
  readonly gaps: readonly IndexGap[]
  /** How many entries are in the gaps, by LMDB's count; null if that is not known. */
  readonly missing: number | null
}

const NOTHING_LEFT: IndexRemains = {
  entries: new Map(),
  damaged: [],
  gaps: [{ after: null, before: null }],
  missing: null,
}

/** Reads the newer of the two roots; if it leads to nothing, the older one. */
export function remainsOf(pages: PageSource): IndexRemains {
  const metas = pages(0, 2)
  const roots = [0, PAGE_BYTES]
    .filter((at) => metas.length >= at + META_BYTES)
    .map((at) => ({
      page: Number(metas.readBigUInt64LE(at + MAIN_TREE + 40)),
      counted: Number(metas.readBigUInt64LE(at + MAIN_TREE + 32)),
      transaction: metas.readBigUInt64LE(at + 152),
    }))
    .sort((a, b) => (a.transaction > b.transaction ? -1 : 1))
  for (const { page, counted } of roots) {
    const remains = new Remains(pages)
    remains.reach(page, 0)
    if (remains.entries.size > 0) return remains.told(counted)
  }
  return NOTHING_LEFT
}

const DEPTH_MAX = 20

class Remains {
  readonly #pages: PageSource
  readonly entries = new Map<string, Buffer>()
  readonly #damaged: string[] = []
  readonly #gaps: IndexGap[] = []
  #lastKey: string | null = null

  constructor(pages: PageSource) {
    this.#pages = pages
  }

  told(counted: number): IndexRemains {
    const missing = counted - this.entries.size - this.#damaged.length
    // An impossible count is itself damaged.
    const known = Number.isSafeInteger(missing) && missing >= 0 && (missing > 0 || this.#gaps.length === 0)
    return { entries: this.entries, damaged: this.#damaged, gaps: this.#gaps, missing: known ? missing : null }
  }

  reach(page: number, depth: number): void {
    const bytes =
      Number.isSafeInteger(page) && page >= 2 && page <= 2 ** 31 && depth <= DEPTH_MAX
        ? this.#pages(page, 1)
        : Buffer.alloc(0)
    const kind =
      bytes.length < PAGE_BYTES || Number(bytes.readBigUInt64LE(0)) !== page
        ? 0
        : bytes.readUInt16LE(18) & (BRANCH | LEAF)
    if (kind !== BRANCH && kind !== LEAF) {
      this.#gap()
      return
    }
    const said = bytes.readUInt16LE(20) >>> 1
    const count = Math.min(said, (PAGE_BYTES - PAGE_HEAD_BYTES) >>> 1)
    if (said !== count || said === 0) this.#gap()
    for (let index = 0; index < count; index++) {
      const at = PAGE_HEAD_BYTES + bytes.readUInt16LE(PAGE_HEAD_BYTES + 2 * index)
      if (at + NODE_HEAD_BYTES > PAGE_BYTES) this.#gap()
      else if (kind === BRANCH)
        this.reach(
          bytes.readUInt16LE(at) + bytes.readUInt16LE(at + 2) * 2 ** 16 + bytes.readUInt16LE(at + 4) * 2 ** 32,
          depth + 1,
        )
      else this.#entry(bytes, at)
    }
  }

  /** Record a gap, or extend the last one. */
  #gap(): void {
    if (this.#gaps.at(-1)?.before !== null || this.#gaps.length === 0)
      this.#gaps.push({ after: this.#lastKey, before: null })
  }

  #entry(bytes: Buffer, at: number): void {
    const valueAt = at + NODE_HEAD_BYTES + bytes.readUInt16LE(at + 6)
    const length = bytes.readUInt16LE(at) + bytes.readUInt16LE(at + 2) * 2 ** 16
    const key = bytes.subarray(at + NODE_HEAD_BYTES, valueAt)
    let value = bytes.subarray(valueAt, valueAt + length)
    if (bytes.readUInt16LE(at + 4) === BIG && valueAt + 8 <= PAGE_BYTES) {
      const count = Math.ceil((length + PAGE_HEAD_BYTES) / PAGE_BYTES)
      const first = Number(bytes.readBigUInt64LE(valueAt))
      value = first <= 2 ** 31 ? this.#pages(first, count).subarray(PAGE_HEAD_BYTES, PAGE_HEAD_BYTES + length) : value
    }
    const text = key.toString()
    const checked = value.length - 4
    if (checked >= 0 && value.readUInt32LE(checked) === crc32(value.subarray(0, checked), crc32(key))) {
      this.entries.set(text, Buffer.from(value.subarray(0, checked)))
      const gap = this.#gaps.at(-1)
      if (gap?.before === null) gap.before = text
      this.#lastKey = text
    } else if (this.#mayBeKey(text)) this.#damaged.push(text)
    else this.#gap()
  }

  /** Whether a key is plausible: our keys are printable and in order, so any other key is damaged and names nothing. */
  #mayBeKey(text: string): boolean {
    return (
      /^(?:[ai]$|[cs]\d{8}$|x\d{8}\/\d{16}$|r[a-z]\/)/.test(text) &&
      !text.includes('\ufffd') &&
      (this.#lastKey === null || text > this.#lastKey)
    )
  }
}
