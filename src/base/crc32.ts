/**
 * The CRC-32 of two pieces from the CRC-32 of each, without reading the bytes again.
 * The arithmetic is zlib's `crc32_combine`: polynomials modulo the CRC's own, bits in reflected order.
 */
const POLYNOMIAL = 0xedb88320

/** x to the power of 2 to the power of the index. */
const POWERS = powers()

function powers(): Uint32Array {
  const table = new Uint32Array(32)
  let power = 0x40000000
  for (let index = 0; index < table.length; index++) {
    table[index] = power
    power = multiply(power, power)
  }
  return table
}

function multiply(a: number, b: number): number {
  let product = 0
  let factor = b
  for (let bit = 31; bit >= 0; bit--) {
    if (((a >>> bit) & 1) !== 0) product ^= factor
    factor = (factor & 1) === 0 ? factor >>> 1 : (factor >>> 1) ^ POLYNOMIAL
  }
  return product >>> 0
}

/**
 * The checksum of a piece with the sum `first`, followed by one of `bytes` bytes (less than 2 GiB) with the sum
 * `second`.
 */
export function joinCrc32(first: number, second: number, bytes: number): number {
  let shift = 0x80000000
  for (let left = bytes, index = 3; left > 0; left >>>= 1, index++)
    if ((left & 1) === 1) shift = multiply(POWERS[index & 31] as number, shift)
  return (multiply(shift, first) ^ second) >>> 0
}
