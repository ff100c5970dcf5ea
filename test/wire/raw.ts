import { afterAll, beforeAll, expect } from 'vitest'
import { FRAME, FRAME_HEADER_BYTES, FrameReader, newFrame } from '../../src/wire/frame.ts'
import type { Transport } from '../../src/wire/transport.ts'

/** MILLRACE_FUZZ=10 multiplies the number of tries. */
export const TIMES = Number(process.env['MILLRACE_FUZZ'] ?? 1)

/** Unhandled rejections and exceptions while the tests of the file run. */
export function watchUnhandled(): readonly unknown[] {
  const unhandled: unknown[] = []
  const note = (error: unknown): void => void unhandled.push(error)
  beforeAll(() => {
    process.on('unhandledRejection', note)
    process.on('uncaughtException', note)
  })
  afterAll(() => {
    process.off('unhandledRejection', note)
    process.off('uncaughtException', note)
  })
  return unhandled
}

/** A client that can send anything. */
export class Raw {
  readonly frames: { readonly type: number; readonly body: Buffer }[] = []
  over = false
  readonly #transport: Transport

  constructor(transport: Transport) {
    this.#transport = transport
    const reader = new FrameReader(2 ** 26, (type, body) => this.frames.push({ type, body }))
    transport.open({
      data: (chunk) => reader.push(chunk),
      drain: () => undefined,
      closed: () => void (this.over = true),
    })
  }

  send(...frames: readonly Buffer[]): void {
    this.#transport.write(frames)
  }

  of(type: number): Buffer[] {
    return this.frames.filter((frame) => frame.type === type).map(({ body }) => body)
  }

  /** Wait until the server has processed everything sent, or has ended the connection. */
  async answered(): Promise<void> {
    const pongs = this.of(FRAME.pong).length
    this.send(numbers(FRAME.ping, [], 8))
    await expect.poll(() => this.over || this.of(FRAME.pong).length > pongs, { interval: 1, timeout: 5000 }).toBe(true)
  }

  end(): void {
    this.#transport.destroy()
  }
}

/** A frame of numbers, padded with zeros. */
export function numbers(type: number, values: readonly number[], bytes = 4 * values.length): Buffer {
  const frame = newFrame(type, bytes)
  frame.fill(0, FRAME_HEADER_BYTES)
  for (const [index, value] of values.entries()) frame.writeUInt32LE(value, FRAME_HEADER_BYTES + 4 * index)
  return frame
}

export const odd: readonly unknown[] = [
  null,
  0,
  -1,
  1.5,
  1e308,
  '',
  'x'.repeat(300),
  true,
  [],
  [null],
  {},
  { __proto__: null, at: 'x' },
  [[[]]],
]

export function damaged(frames: readonly Buffer[], random: () => number): Buffer[] {
  const below = (n: number): number => Math.floor(random() * n)
  return Array.from({ length: 1 + below(6) }, () => {
    const frame = Buffer.from(frames[below(frames.length)] as Buffer)
    if (random() < 0.3) return frame
    if (random() < 0.2) return newFrame(below(64), below(40)).fill(below(256), FRAME_HEADER_BYTES)
    const cut =
      random() < 0.3 ? frame.subarray(0, FRAME_HEADER_BYTES + below(frame.length - FRAME_HEADER_BYTES + 1)) : frame
    for (let flips = below(4); flips > 0 && cut.length > FRAME_HEADER_BYTES; flips--)
      cut[FRAME_HEADER_BYTES + below(cut.length - FRAME_HEADER_BYTES)] = below(256)
    if (random() < 0.2) cut[4] = below(64)
    // The length is usually right: a wrongly cut frame ends at the next one.
    if (random() < 0.95) cut.writeUInt32LE(cut.length, 0)
    return cut
  })
}
