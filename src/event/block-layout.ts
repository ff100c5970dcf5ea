/** The numbers of the block's layout, which is drawn in `block.ts`. */

export const MAGIC = 0x3142524d
export const HEADER_BYTES = 40
/** The length that means "no key". */
export const NO_KEY = 0xffff
/** Flags: every text is ASCII; no event is left. */
export const ASCII = 1
export const VOID = 2

/** Positions in the header: bytes of the texts, flags, count of types. */
export const TEXT_BYTES_AT = 32
export const FLAGS_AT = 36
export const TYPES_AT = 38

export function putUint16(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
}

export function putUint32(bytes: Buffer, at: number, value: number): void {
  bytes[at] = value
  bytes[at + 1] = value >>> 8
  bytes[at + 2] = value >>> 16
  bytes[at + 3] = value >>> 24
}

export function getUint16(bytes: Buffer, at: number): number {
  return (bytes[at] as number) | ((bytes[at + 1] as number) << 8)
}

export function getUint32(bytes: Buffer, at: number): number {
  return (
    ((bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)) >>>
    0
  )
}
