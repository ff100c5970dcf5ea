/**
 * Finds the addresses and address blocks that contain an IP address: by number for IPv4, by bits for IPv6. It needs one
 * lookup for each block length in use.
 */
import { addressBits, type CidrBlock, ipv4Number } from './ip-address.ts'

const IPV4_BITS = 32

/** An address, or the fixed bits of a block: a number for IPv4, a string of bits for IPv6. */
type Key = number | string

function keyOf(width: number, bits: string): Key {
  if (width !== IPV4_BITS) return bits
  return bits === '' ? 0 : Number.parseInt(bits, 2)
}

export class AddressIndex<Item> {
  /** By the number of fixed bits, for IPv4 and for IPv6. */
  readonly #ipv4: Map<number, Map<Key, Item>> = new Map()
  readonly #ipv6: Map<number, Map<Key, Item>> = new Map()

  get isEmpty(): boolean {
    return this.#ipv4.size + this.#ipv6.size === 0
  }

  /** The item of exactly this block; an address is a block with all bits fixed. */
  at({ width, bits }: CidrBlock): Item | undefined {
    return this.#family(width).get(bits.length)?.get(keyOf(width, bits))
  }

  add({ width, bits }: CidrBlock, item: Item): void {
    const family = this.#family(width)
    let blocks = family.get(bits.length)
    if (blocks === undefined) {
      blocks = new Map()
      family.set(bits.length, blocks)
    }
    blocks.set(keyOf(width, bits), item)
  }

  remove({ width, bits }: CidrBlock): void {
    const family = this.#family(width)
    const blocks = family.get(bits.length)
    blocks?.delete(keyOf(width, bits))
    if (blocks?.size === 0) family.delete(bits.length)
  }

  #family(width: number): Map<number, Map<Key, Item>> {
    return width === IPV4_BITS ? this.#ipv4 : this.#ipv6
  }

  /** Append to `found` the items of all blocks that contain the address, if the text is an address. */
  collect(text: string, found: Item[]): void {
    const number = ipv4Number(text)
    if (number >= 0) {
      for (const [length, blocks] of this.#ipv4) {
        const item = blocks.get(length === 0 ? 0 : number >>> (IPV4_BITS - length))
        if (item !== undefined) found.push(item)
      }
      return
    }
    const bits = addressBits(text)
    if (bits === null) return
    // An IPv4 address can also be written as IPv6.
    for (const [length, blocks] of this.#family(bits.length)) {
      const item = blocks.get(keyOf(bits.length, bits.slice(0, length)))
      if (item !== undefined) found.push(item)
    }
  }
}
