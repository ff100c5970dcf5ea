/**
 * The columns of a block, each read from the bytes when it is first asked for. A handler needs type and text,
 * deduplication needs the id, order needs the key, and forwarding needs none of them.
 */
import { ASCII, FLAGS_AT, getUint16, getUint32, HEADER_BYTES, NO_KEY, TEXT_BYTES_AT, TYPES_AT } from './block-layout.ts'

export class BlockColumns {
  readonly types: readonly string[]
  readonly typeIndexAt: number
  readonly idLengthsAt: number
  readonly keyLengthsAt: number
  /** Where the texts begin. */
  readonly textsAt: number
  readonly isAscii: boolean
  readonly #bytes: Buffer
  readonly #count: number
  readonly #idsAt: number
  #idStarts: Uint32Array | null = null
  #keyStarts: Uint32Array | null = null
  #ids: readonly string[] | null = null
  #keys: readonly (string | null)[] | null = null

  constructor(bytes: Buffer, count: number) {
    this.#bytes = bytes
    this.#count = count
    this.typeIndexAt = HEADER_BYTES + 4 * count
    this.idLengthsAt = this.typeIndexAt + 2 * count
    this.keyLengthsAt = this.idLengthsAt + 2 * count
    let at = this.keyLengthsAt + 2 * count
    const types: string[] = []
    for (let left = bytes.readUInt16LE(TYPES_AT); left > 0; left--) {
      const length = bytes.readUInt16LE(at)
      types.push(bytes.toString('utf8', at + 2, at + 2 + length))
      at += 2 + length
    }
    this.types = types
    this.#idsAt = at
    this.textsAt = bytes.length - bytes.readUInt32LE(TEXT_BYTES_AT)
    this.isAscii = (bytes.readUInt16LE(FLAGS_AT) & ASCII) !== 0
  }

  /** Where each id begins; one more item says where the last one ends. */
  get idStarts(): Uint32Array {
    this.#idStarts ??= startsOf(this.#bytes, this.idLengthsAt, this.#count, this.#idsAt)
    return this.#idStarts
  }

  /** The same of the keys. */
  get keyStarts(): Uint32Array {
    this.#keyStarts ??= startsOf(this.#bytes, this.keyLengthsAt, this.#count, this.idStarts[this.#count] as number)
    return this.#keyStarts
  }

  get ids(): readonly string[] {
    this.#ids ??= stringsOf(this.#bytes, this.idStarts) as string[]
    return this.#ids
  }

  get keys(): readonly (string | null)[] {
    if (this.#keys === null) {
      const keys: (string | null)[] = stringsOf(this.#bytes, this.keyStarts)
      for (let index = 0; index < this.#count; index++)
        if (getUint16(this.#bytes, this.keyLengthsAt + 2 * index) === NO_KEY) keys[index] = null
      this.#keys = keys
    }
    return this.#keys
  }

  typeAt(index: number): string {
    return this.types[getUint16(this.#bytes, this.typeIndexAt + 2 * index)] as string
  }

  /** Where an event's text begins, counted from the beginning of the texts. */
  startAt(index: number): number {
    return index === 0 ? 1 : this.endAt(index - 1) + 1
  }

  endAt(index: number): number {
    return getUint32(this.#bytes, HEADER_BYTES + 4 * index)
  }

  isEmpty(index: number): boolean {
    return this.endAt(index) === this.startAt(index)
  }

  textAt(index: number): string {
    // Not a slice of all texts: one event that is kept would keep its whole block in memory.
    const from = this.textsAt + this.startAt(index)
    const to = this.textsAt + this.endAt(index)
    return this.isAscii ? this.#bytes.toString('latin1', from, to) : this.#bytes.toString('utf8', from, to)
  }
}

function startsOf(bytes: Buffer, lengthsAt: number, count: number, from: number): Uint32Array {
  const starts = new Uint32Array(count + 1)
  let at = from
  for (let index = 0; index < count; index++) {
    starts[index] = at
    const length = getUint16(bytes, lengthsAt + 2 * index)
    if (length !== NO_KEY) at += length
  }
  starts[count] = at
  return starts
}

/** Strings stored one after the other. */
function stringsOf(bytes: Buffer, starts: Uint32Array): string[] {
  const count = starts.length - 1
  const first = starts[0] as number
  const total = (starts[count] as number) - first
  const all = bytes.toString('utf8', first, first + total)
  const strings: string[] = new Array(count)
  for (let index = 0; index < count; index++) {
    const [from, to] = [starts[index] as number, starts[index + 1] as number]
    strings[index] = all.length === total ? all.slice(from - first, to - first) : bytes.toString('utf8', from, to)
  }
  return strings
}

/** Whether the columns fill the block without a gap, each text ends after its beginning, and each type exists. */
export function columnsFit(bytes: Buffer, count: number): boolean {
  const typesAt = HEADER_BYTES + 10 * count
  const textBytes = getUint32(bytes, TEXT_BYTES_AT)
  const textsAt = bytes.length - textBytes
  const typeCount = getUint16(bytes, TYPES_AT)
  let at = typesAt
  for (let left = typeCount; left > 0; left--) {
    if (at + 2 > textsAt) return false
    at += 2 + getUint16(bytes, at)
  }
  let start = 1
  for (let index = 0; index < count; index++) {
    const end = getUint32(bytes, HEADER_BYTES + 4 * index)
    const type = HEADER_BYTES + 4 * count + 2 * index
    const keyBytes = getUint16(bytes, type + 4 * count)
    if (end < start || getUint16(bytes, type) >= typeCount) return false
    at += getUint16(bytes, type + 2 * count) + (keyBytes === NO_KEY ? 0 : keyBytes)
    start = end + 1
  }
  return at === textsAt && start === textBytes
}
