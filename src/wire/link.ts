/**
 * One end of a session's conversation: frames in order, each processed once, over successive connections.
 *
 * Invariants:
 * - A counted frame is kept until the other end acknowledges it. Over a new connection the missing frames are sent
 *   again, in order. So neither end sees a counted frame twice, or out of order.
 * - Frames sent in one turn of the event loop go out together.
 * - If the connection accepts no more bytes, the remaining frames stay here. The sender watches `waitingBytes`.
 */
import { FIRST_COUNTED, FRAME, FRAME_HEADER_BYTES, malformed, newFrame } from './frame.ts'
import type { Transport } from './transport.ts'

export interface LinkHooks {
  /** A frame from the other end: counted ones, and `renew`. @throws an error that ends the connection */
  frame(type: number, body: Buffer): void
  /** Called before sending, so that the caller can add what it has gathered. */
  flushing(): void
  /** Called when the other end has acknowledged frames. */
  room(): void
  /** This end's clock, sent in `ping` and in `pong`. */
  nowMs(): number
  /** The other end's time from `pong`, and this end's time when it asked. */
  told(nowMs: number, askedMs: number): void
}

/** A connection is given more bytes only while fewer than this wait in it. */
const WRITE_AHEAD_BYTES = 1_048_576
/** Received frames are acknowledged after this time or this many bytes, or with the next frame that goes out. */
const ACK_MS = 20
const ACK_BYTES = 262_144

export class Link {
  readonly #hooks: LinkHooks
  #transport: Transport | null = null
  /** Counted frames that are not acknowledged. */
  #kept: Buffer[] = []
  /** How many of them were given to this connection. */
  #written = 0
  /** The number of the first kept frame. */
  #first = 0
  #keptBytes = 0
  #uncounted: Buffer[] = []
  #received = 0
  #acknowledged = 0
  #receivedBytes = 0
  #scheduled = false
  #ackTimer: NodeJS.Timeout | null = null
  #heard = true
  /**
   * Consecutive heartbeats in which nothing was received (`#silent`), or in which none of the waiting bytes were
   * accepted (`#stuck`).
   */
  #silent = 0
  #stuck = 0
  #waitedBytes = 0

  constructor(hooks: LinkHooks) {
    this.#hooks = hooks
  }

  /** How many counted frames were received. */
  get received(): number {
    return this.#received
  }

  /** Bytes of counted frames that are not acknowledged. */
  get waitingBytes(): number {
    return this.#keptBytes
  }

  get connected(): boolean {
    return this.#transport !== null
  }

  /**
   * Continue over a new connection. @throws INVALID_REQUEST when the other end acknowledges frames that were never sent
   */
  attach(transport: Transport, peerReceived: number): void {
    this.#forget(peerReceived)
    this.#transport = transport
    this.#written = 0
    this.#acknowledged = this.#received
    this.#silent = 0
    this.#stuck = 0
    this.#heard = true
    this.#soon()
  }

  /** The connection is over. All unacknowledged frames are kept for the next one. */
  detach(): void {
    this.#transport = null
    this.#uncounted = []
    if (this.#ackTimer !== null) clearTimeout(this.#ackTimer)
    this.#ackTimer = null
  }

  /** Start again with a peer that knows nothing of this session. */
  reset(): void {
    this.detach()
    this.#kept = []
    this.#written = 0
    this.#first = 0
    this.#keptBytes = 0
    this.#received = 0
    this.#acknowledged = 0
  }

  /** Send a counted frame. */
  send(frame: Buffer): void {
    this.#kept.push(frame)
    this.#keptBytes += frame.length
    this.#soon()
  }

  /** Send a frame that may be lost: it is dropped if there is no connection. */
  sendUncounted(frame: Buffer): void {
    if (this.#transport === null) return
    this.#uncounted.push(frame)
    this.#soon()
  }

  /** Ask for a flush in this turn. `flushing` will then add what is gathered. */
  soon(): void {
    this.#soon()
  }

  #soon(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.flush()
    })
  }

  /** The connection accepts bytes again. */
  drained(): void {
    if (this.#written < this.#kept.length) this.#write()
  }

  flush(): void {
    const scheduled = this.#scheduled
    // What `flushing` adds goes out with this flush, so no further one is scheduled.
    this.#scheduled = true
    this.#hooks.flushing()
    this.#scheduled = scheduled
    this.#write()
  }

  #write(): void {
    const transport = this.#transport
    if (transport === null) return
    const parts: Buffer[] = []
    if (this.#received > this.#acknowledged) parts.push(this.#ack())
    if (this.#uncounted.length > 0) parts.push(...this.#uncounted.splice(0))
    let room = WRITE_AHEAD_BYTES - transport.waitingBytes
    while (room > 0 && this.#written < this.#kept.length) {
      const frame = this.#kept[this.#written++] as Buffer
      room -= frame.length
      parts.push(frame)
    }
    if (parts.length > 0) transport.write(parts)
    // A transport that accepted all bytes at once does not call `drain`.
    if (this.#written < this.#kept.length && transport.waitingBytes < WRITE_AHEAD_BYTES) this.#soon()
  }

  #ack(): Buffer {
    const frame = newFrame(FRAME.ack, 8)
    frame.writeDoubleLE(this.#received, FRAME_HEADER_BYTES)
    this.#acknowledged = this.#received
    this.#receivedBytes = 0
    if (this.#ackTimer !== null) clearTimeout(this.#ackTimer)
    this.#ackTimer = null
    return frame
  }

  /** Process a received frame. @throws INVALID_REQUEST */
  take(type: number, body: Buffer): void {
    this.#heard = true
    if (type >= FIRST_COUNTED) {
      this.#received++
      this.#receivedBytes += body.length
      if (this.#receivedBytes > ACK_BYTES) this.#soon()
      else this.#ackTimer ??= setTimeout(() => this.flush(), ACK_MS).unref()
      this.#hooks.frame(type, body)
    } else if (type === FRAME.ack) this.#forget(numberAt(body, 0))
    else if (type === FRAME.ping) this.#pong(body)
    else if (type === FRAME.pong) this.#hooks.told(numberAt(body, 8), numberAt(body, 0))
    else this.#hooks.frame(type, body)
  }

  #pong(body: Buffer): void {
    const frame = newFrame(FRAME.pong, 16)
    frame.writeDoubleLE(numberAt(body, 0), FRAME_HEADER_BYTES)
    frame.writeDoubleLE(this.#hooks.nowMs(), FRAME_HEADER_BYTES + 8)
    this.sendUncounted(frame)
  }

  /** The other end has acknowledged frames up to `received`. */
  #forget(received: number): void {
    const count = received - this.#first
    if (!Number.isInteger(count) || count < 0 || count > this.#kept.length)
      throw malformed(`${received} frames acknowledged, more than were sent`)
    if (count === 0) return
    for (let at = 0; at < count; at++) this.#keptBytes -= (this.#kept[at] as Buffer).length
    this.#kept.splice(0, count)
    this.#written = Math.max(0, this.#written - count)
    this.#first = received
    this.#hooks.room()
  }

  /** Called by a timer: send a ping. Returns the reason if the connection must be dropped, else null. */
  beat(): string | null {
    const transport = this.#transport
    if (transport === null) return null
    const { waitingBytes } = transport
    this.#stuck = waitingBytes > 0 && waitingBytes >= this.#waitedBytes ? this.#stuck + 1 : 0
    this.#waitedBytes = waitingBytes
    this.#silent = this.#heard ? 0 : this.#silent + 1
    this.#heard = false
    if (this.#silent > 2) return 'the other end is silent'
    if (this.#stuck > 2) return 'the other end accepts no data'
    const frame = newFrame(FRAME.ping, 8)
    frame.writeDoubleLE(this.#hooks.nowMs(), FRAME_HEADER_BYTES)
    this.sendUncounted(frame)
    return null
  }

  /** This end has stopped reading on purpose, so silence does not mean that the peer is dead. */
  excuse(): void {
    this.#heard = true
  }
}

function numberAt(body: Buffer, at: number): number {
  if (body.length < at + 8) throw malformed('a frame is too short')
  return body.readDoubleLE(at)
}
