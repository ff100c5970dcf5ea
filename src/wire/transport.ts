/**
 * What carries bytes between two ends: a WebSocket, a socket of the system, or memory. Ordered and whole while it lasts; it may end at any byte.
 */

/** What the one who uses a transport is told. Never called before `open`. */
export interface TransportHooks {
  /** Some bytes, cut anywhere. */
  data(chunk: Buffer): void
  /** What waited has gone out. */
  drain(): void
  /** It is over, whoever ended it. Called once. */
  closed(reason: string): void
}

export interface Transport {
  /** Bytes given to `write` and not yet taken by the system. */
  readonly waitingBytes: number
  /** Begin to be told. */
  open(hooks: TransportHooks): void
  /** Send these, one after the other. Does nothing when it is over. */
  write(parts: readonly Buffer[]): void
  /** Take no more bytes in until `resume`. */
  pause(): void
  resume(): void
  /** End it when all that was written is out. */
  end(): void
  /** End it now. */
  destroy(): void
  /** Whether it keeps its process alive. */
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
