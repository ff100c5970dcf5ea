/**
 * Frames: how the bytes of a connection are cut into messages.
 *
 *     offset  bytes
 *     0       4      bytes of the whole frame
 *     4       1      type
 *     5       3      0
 *     8       …      body
 *
 * Numbers are little-endian. Types below 16 concern the connection itself and are not counted. Both ends count all
 * other types. The sender keeps a counted frame until it is acknowledged, and sends it again when the session is
 * resumed over another connection: docs/protocol.md.
 */

import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { TIME_MS_MAX } from '../base/time-text.ts'
import { type JsonBounds, JsonRefusal, JsonScanner } from '../event/json-scanner.ts'

export const FRAME_HEADER_BYTES = 8
/** The lowest counted type. */
export const FIRST_COUNTED = 16
/** The version of docs/protocol.md as a whole. */
export const PROTOCOL_VERSION = 1

export const FRAME = {
  hello: 1,
  welcome: 2,
  refused: 3,
  ack: 4,
  ping: 5,
  pong: 6,
  goodbye: 7,
  renew: 8,
  call: 16,
  publish: 17,
  subscribe: 18,
  settle: 19,
  switch: 20,
  flush: 21,
  unsubscribe: 22,
  read: 23,
  readMore: 24,
  readStop: 25,
  mark: 26,
  states: 27,
  result: 32,
  error: 33,
  receipts: 34,
  deliver: 35,
  revoked: 36,
  events: 37,
  settled: 38,
  buried: 39,
  notCompleted: 40,
} as const

/** A frame with its header; the caller fills the body. */
export function newFrame(type: number, bodyBytes: number): Buffer {
  const frame = Buffer.allocUnsafe(FRAME_HEADER_BYTES + bodyBytes)
  frame.writeUInt32LE(frame.length, 0)
  frame.writeUInt32LE(type, 4)
  return frame
}

/** A frame whose body is JSON. */
export function jsonFrame(type: number, value: unknown): Buffer {
  const text = JSON.stringify(value)
  const frame = newFrame(type, Buffer.byteLength(text))
  frame.write(text, FRAME_HEADER_BYTES)
  return frame
}

/** A frame whose body is a number followed by JSON. */
export function numberedFrame(type: number, number: number, value: unknown): Buffer {
  const text = value === undefined ? '' : JSON.stringify(value)
  const frame = newFrame(type, 4 + Buffer.byteLength(text))
  frame.writeUInt32LE(number, FRAME_HEADER_BYTES)
  frame.write(text, FRAME_HEADER_BYTES + 4)
  return frame
}

export function malformed(what: string): MillraceError {
  return new MillraceError('INVALID_REQUEST', `the other end violates the protocol: ${what}`, { what })
}

/** Accepts a time, or NaN, which means "none". */
export function isTimeOrNone(timeMs: number): boolean {
  return Number.isNaN(timeMs) || Math.abs(timeMs) <= TIME_MS_MAX
}

/** Limits for the JSON in one frame from a client. They are checked before the JSON is parsed. */
export const CLIENT_BOUNDS: JsonBounds = {
  depthMax: LIMITS.dataDepthMax + 8,
  namesMax: LIMITS.wireJsonValuesMax,
  valuesMax: LIMITS.wireJsonValuesMax,
}

/** Parse the JSON of a body that starts at byte `at`. @throws INVALID_REQUEST */
export function jsonOf(body: Buffer, at: number, bounds: JsonBounds | null = null): unknown {
  try {
    const text = body.toString('utf8', at)
    if (bounds !== null) new JsonScanner(text, bounds).whole()
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof JsonRefusal) throw malformed(`a body cannot be read as JSON: ${error.message}`)
    throw malformed('a body is not JSON')
  }
}

/** Cuts arriving bytes into frames, wherever the chunks begin and end. */
export class FrameReader {
  readonly #onFrame: (type: number, body: Buffer) => void
  /** The largest frame accepted. The limit can be lower for an untrusted peer. */
  frameBytesMax: number
  #chunks: Buffer[] = []
  #bytes = 0
  /** Bytes of the current frame that must arrive before it can be processed. */
  #needed = FRAME_HEADER_BYTES

  constructor(frameBytesMax: number, onFrame: (type: number, body: Buffer) => void) {
    this.frameBytesMax = frameBytesMax
    this.#onFrame = onFrame
  }

  /** @throws INVALID_REQUEST when the bytes are not frames, and whatever `onFrame` throws */
  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes < this.#needed) return
    const bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks, this.#bytes)
    this.#chunks = []
    this.#bytes = 0
    const end = this.#cut(bytes)
    if (end === bytes.length) return
    this.#chunks.push(bytes.subarray(end))
    this.#bytes = bytes.length - end
  }

  #cut(bytes: Buffer): number {
    let at = 0
    for (;;) {
      this.#needed = FRAME_HEADER_BYTES
      if (bytes.length - at < FRAME_HEADER_BYTES) return at
      const length = bytes.readUInt32LE(at)
      if (length < FRAME_HEADER_BYTES || length > this.frameBytesMax)
        throw malformed(`a frame of ${length} bytes; 8 to ${this.frameBytesMax} are allowed`)
      this.#needed = length
      if (bytes.length - at < length) return at
      this.#onFrame(bytes[at + 4] as number, bytes.subarray(at + FRAME_HEADER_BYTES, at + length))
      at += length
    }
  }
}
