/**
 * The partition function of every channel on servers: murmur2 over the UTF-8 bytes of the key, modulo the number of
 * partitions.
 *
 * Kafka's own producers use it for the key of a record, so a key has the same partition whoever publishes. It needs no
 * cryptography, so it also works in Node's FIPS mode. It never changes within a format (`CHANNEL_FORMAT`), because the
 * order of a key depends on it.
 * @see https://github.com/apache/kafka/blob/4.1/clients/src/main/java/org/apache/kafka/common/utils/Utils.java
 * `murmur2`, `toPositive`
 */
const SEED = 0x9747b28c
const MIX = 0x5bd1e995

/** A number from 0 to 2^31 − 1, equal to Kafka's `toPositive(murmur2(bytes))`. */
export function partitionHash(text: string): number {
  return murmur2(Buffer.from(text)) & 0x7fffffff
}

/** The hash as a signed 32-bit number. */
export function murmur2(bytes: Uint8Array): number {
  const { length } = bytes
  const whole = length & ~3
  let hash = SEED ^ length
  for (let at = 0; at < whole; at += 4) {
    let four =
      byteAt(bytes, at) | (byteAt(bytes, at + 1) << 8) | (byteAt(bytes, at + 2) << 16) | (byteAt(bytes, at + 3) << 24)
    four = Math.imul(four, MIX)
    four ^= four >>> 24
    hash = Math.imul(hash, MIX) ^ Math.imul(four, MIX)
  }
  const left = length - whole
  if (left === 3) hash ^= byteAt(bytes, whole + 2) << 16
  if (left >= 2) hash ^= byteAt(bytes, whole + 1) << 8
  if (left >= 1) hash = Math.imul(hash ^ byteAt(bytes, whole), MIX)
  hash = Math.imul(hash ^ (hash >>> 13), MIX)
  return hash ^ (hash >>> 15)
}

function byteAt(bytes: Uint8Array, at: number): number {
  return bytes[at] as number
}
