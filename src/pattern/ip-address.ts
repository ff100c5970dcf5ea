/**
 * IP addresses as strings of bits, so that a CIDR block is a prefix, and two spellings of one address are equal.
 *
 * The accepted forms are those of event-ruler: four decimal numbers (leading zeros allowed), or hexadecimal IPv6 with
 * at most one `::`. An IPv4-mapped IPv6 address is the IPv4 address. There are no zones, and no dotted tails in IPv6.
 * Any other text is not an address, only a string.
 */

const IPV6 = /^[0-9a-fA-F:]*:[0-9a-fA-F:]*$/
const MAPPED = `${'0'.repeat(80)}${'1'.repeat(16)}`

/** Longer strings are never addresses. */
const ADDRESS_CHARS_MAX = 64

const ZERO = 48
const DOT = 46

/** The address as a number, or -1 if the text is not an IPv4 address. */
export function ipv4Number(text: string): number {
  let address = 0
  let parts = 0
  let digits = 0
  let value = 0
  if (text.length > ADDRESS_CHARS_MAX) return -1
  for (let at = 0; at <= text.length; at++) {
    const char = at === text.length ? DOT : text.charCodeAt(at)
    if (char === DOT) {
      if (digits === 0 || value > 255 || ++parts > 4) return -1
      address = address * 256 + value
      digits = 0
      value = 0
    } else {
      if (char < ZERO || char > ZERO + 9) return -1
      value = value * 10 + char - ZERO
      digits++
    }
  }
  return parts === 4 ? address : -1
}

function ipv4Bits(text: string): string | null {
  const address = ipv4Number(text)
  return address < 0 ? null : address.toString(2).padStart(32, '0')
}

function groups(text: string): readonly string[] | null {
  if (text === '') return []
  const parts = text.split(':')
  return parts.every((part) => part.length >= 1 && part.length <= 4) ? parts : null
}

function ipv6Bits(text: string): string | null {
  if (!IPV6.test(text)) return null
  const halves = text.split('::')
  if (halves.length > 2) return null
  const head = groups(halves[0] ?? '')
  const tail = groups(halves[1] ?? '')
  if (head === null || tail === null) return null
  const missing = 8 - head.length - tail.length
  if (halves.length === 1 ? missing !== 0 : missing < 1) return null
  const all = [...head, ...Array.from({ length: missing }, () => '0'), ...tail]
  const bits = all.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, '0')).join('')
  return bits.startsWith(MAPPED) ? bits.slice(96) : bits
}

/**
 * The 32 or 128 bits of an address as a string of `0` and `1`, or `null` if the text is not an address. An IPv4 address
 * that is written as IPv6 (`::ffff:…`) has 32 bits.
 */
export function addressBits(text: string): string | null {
  if (text.length < 2 || text.length > ADDRESS_CHARS_MAX) return null
  const first = text.charCodeAt(0)
  if (first > 102 || (first > 58 && first < 65)) return null
  return text.includes(':') ? ipv6Bits(text) : ipv4Bits(text)
}

/** A block of addresses: those of `width` bits that begin with `bits`. */
export interface CidrBlock {
  readonly width: number
  readonly bits: string
}

/**
 * Parse `address/bits`. The address's bits beyond the block are ignored. A string is the reason why the text is not a
 * block.
 */
export function parseCidr(text: string): CidrBlock | string {
  const parts = text.split('/')
  const [address, length] = parts
  if (parts.length !== 2 || address === undefined || length === undefined)
    return 'a CIDR block is an address, one "/" and a number of bits, such as "10.0.0.0/8"'
  const bits = addressBits(address)
  if (bits === null) return `"${address}" is not an IPv4 or IPv6 address`
  const most = bits.length - 1
  if (!/^\d{1,3}$/.test(length) || Number(length) > most) {
    return `the number of bits must be 0 to ${most} for IPv${bits.length === 32 ? 4 : 6}; match one address by writing it as a string`
  }
  return { width: bits.length, bits: bits.slice(0, Number(length)) }
}

/** Whether an address, as bits, is in the block. */
export function inBlock(block: CidrBlock, bits: string): boolean {
  return bits.length === block.width && bits.startsWith(block.bits)
}
