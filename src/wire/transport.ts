/**
 * A connection that carries bytes between two ends: a WebSocket, a socket or memory. Bytes arrive in order and without
 * gaps while it lasts; it may end after any byte.
 */

/** The callbacks of a transport's user. None is called before `open`. */
export interface TransportHooks {
  /** A chunk of bytes, cut anywhere. */
  data(chunk: Buffer): void
  /** All waiting bytes have been sent. */
  drain(): void
  /** The transport is over, whichever end closed it. Called once. */
  closed(reason: string): void
}

export interface Transport {
  /** Bytes given to `write` and not yet accepted by the system. */
  readonly waitingBytes: number
  /** Start to call the hooks. */
  open(hooks: TransportHooks): void
  /** Send these parts in order. Does nothing when the transport is over. */
  write(parts: readonly Buffer[]): void
  /** Receive no more bytes until `resume`. */
  pause(): void
  resume(): void
  /** End the transport after all written bytes are sent. */
  end(): void
  /** End the transport now. */
  destroy(): void
  /** Whether the transport keeps its process alive. */
  hold(alive: boolean): void
}

/** The two ends of a transport within one process. */
export function loopback(): readonly [Transport, Transport] {
  const [one, other] = [new Loopback(), new Loopback()]
  one.peer = other
  other.peer = one
  return [one, other]
}

class Loopback implements Transport {
  peer: Loopback | null = null
  #hooks: TransportHooks | null = null
  #arrived: Buffer[] = []
  #scheduled = false
  #paused = false
  #over = false

  get waitingBytes(): number {
    let bytes = 0
    for (const chunk of this.peer?.arrived ?? []) bytes += chunk.length
    return bytes
  }

  get arrived(): readonly Buffer[] {
    return this.#arrived
  }

  open(hooks: TransportHooks): void {
    this.#hooks = hooks
    this.#soon()
  }

  write(parts: readonly Buffer[]): void {
    if (!this.#over) this.peer?.take(parts)
  }

  take(parts: readonly Buffer[]): void {
    this.#arrived.push(...parts)
    this.#soon()
  }

  #soon(): void {
    if (this.#scheduled || this.#paused || this.#hooks === null) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (this.#paused) return
      for (const chunk of this.#arrived.splice(0)) if (!this.#over) this.#hooks?.data(chunk)
      this.peer?.drained()
    })
  }

  drained(): void {
    if (!this.#over) this.#hooks?.drain()
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.#soon()
  }

  end(): void {
    setImmediate(() => this.destroy())
  }

  destroy(): void {
    this.#close('closed here')
    const { peer } = this
    if (peer !== null) setImmediate(() => peer.#close('closed by the other end'))
  }

  #close(reason: string): void {
    if (this.#over) return
    this.#over = true
    setImmediate(() => this.#hooks?.closed(reason))
  }

  hold(): void {}
}
