/**
 * One end of a session's conversation: frames in order, each once, over one connection after the other.
 *
 * Invariants:
 * - A counted frame is kept until the other end says that it has it; over a new connection what it lacks is sent again, in order. So neither end ever
 *   sees a counted frame twice, or one without those before it.
 * - What is sent in one turn of the event loop goes out together.
 * - Bytes that the connection does not take stay here as the frames they are; who fills it looks at `waitingBytes`.
 */
import { FIRST_COUNTED, FRAME, FRAME_HEADER_BYTES, malformed, newFrame } from './frame.ts'
import type { Transport } from './transport.ts'

export interface LinkHooks {
  /** A frame of the other end: counted ones, and `renew`. @throws what ends the connection */
  frame(type: number, body: Buffer): void
  /** About to send: put in what was gathered. */
  flushing(): void
  /** The other end has taken something in. */
  room(): void
  /** The time that `pong` tells. */
  nowMs(): number
  /** What `pong` told, and this end's time when it was asked. */
  told(nowMs: number, askedMs: number): void
}

/** More is not given to a connection before it has taken some. */
const WRITE_AHEAD_BYTES = 1_048_576
/** What was received is acknowledged after so long, or so many bytes, if nothing else goes out before. */
const ACK_MS = 20
const ACK_BYTES = 262_144

export class Link {
  readonly #hooks: LinkHooks
  #transport: Transport | null = null
  /** Counted frames that the other end may lack. */
  #kept: Buffer[] = []
  /** How many of them this connection was given. */
  #written = 0
  /** Number of the first that is kept. */
  #first = 0
  #keptBytes = 0
  #uncounted: Buffer[] = []
  #received = 0
  #acknowledged = 0
  #receivedBytes = 0
  #scheduled = false
  #ackTimer: NodeJS.Timeout | null = null
  #heard = true
  /** Ticks of the heartbeat in which nothing was heard, or nothing that waited was taken. */
  #silent = 0
  #stuck = 0
  #waitedBytes = 0

  constructor(hooks: LinkHooks) {
    this.#hooks = hooks
  }

  /** Counted frames received so far. */
  get received(): number {
    return this.#received
  }

  /** Bytes of counted frames that the other end may lack. */
  get waitingBytes(): number {
    return this.#keptBytes
  }

  get connected(): boolean {
    return this.#transport !== null
  }

  /** Go on over a connection. @throws INVALID_REQUEST when the other end claims frames that it cannot have */
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

  /** The connection is over; everything is kept for the next. */
  detach(): void {
    this.#transport = null
    this.#uncounted = []
    if (this.#ackTimer !== null) clearTimeout(this.#ackTimer)
    this.#ackTimer = null
  }

  /** Begin anew: the other end knows nothing of what was. */
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

  /** Send a frame that need not arrive: it is dropped where there is no connection. */
  sendUncounted(frame: Buffer): void {
    if (this.#transport === null) return
    this.#uncounted.push(frame)
    this.#soon()
  }

  /** Something is gathered that `flushing` will put in. */
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

  /** The connection takes bytes again. */
  drained(): void {
    if (this.#written < this.#kept.length) this.#write()
  }

  flush(): void {
    const scheduled = this.#scheduled
    // What is put in now goes out now: no other turn is needed for it.
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
    // A transport that took all at once does not say that it has drained.
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

  /** Take a frame in. @throws INVALID_REQUEST */
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

  /** The other end has these. */
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

  /** Called by a timer: ask whether the other end lives. Answers why the connection is to be given up, if it is. */
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

  /** Nothing is taken in on purpose: silence means nothing. */
  excuse(): void {
    this.#heard = true
  }
}

function numberAt(body: Buffer, at: number): number {
  if (body.length < at + 8) throw malformed('a frame is too short')
  return body.readDoubleLE(at)
}
