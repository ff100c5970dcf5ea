/** A transport that ends after a number of bytes in a direction: earlier bytes arrive, later ones do not. */
import type { Transport, TransportHooks } from '../../src/wire/transport.ts'

export class CutTransport implements Transport {
  /** Bytes that were forwarded. */
  sent = 0
  taken = 0
  readonly #beneath: Transport
  readonly #cut: { readonly sent: number; readonly taken: number }

  constructor(beneath: Transport, cut: { readonly sent: number; readonly taken: number }) {
    this.#beneath = beneath
    this.#cut = cut
  }

  get waitingBytes(): number {
    return this.#beneath.waitingBytes
  }

  open(hooks: TransportHooks): void {
    this.#beneath.open({
      ...hooks,
      drain: () => hooks.drain(),
      closed: (reason) => hooks.closed(reason),
      data: (chunk) => {
        const room = this.#cut.taken - this.taken
        this.taken += Math.min(room, chunk.length)
        if (room > 0) hooks.data(chunk.subarray(0, Math.min(room, chunk.length)))
        if (chunk.length >= room) this.#beneath.destroy()
      },
    })
  }

  write(parts: readonly Buffer[]): void {
    const bytes = Buffer.concat(parts)
    const room = this.#cut.sent - this.sent
    this.sent += Math.min(room, bytes.length)
    if (room > 0) this.#beneath.write([bytes.subarray(0, Math.min(room, bytes.length))])
    if (bytes.length >= room) this.#beneath.end()
  }

  pause(): void {
    this.#beneath.pause()
  }

  resume(): void {
    this.#beneath.resume()
  }

  end(): void {
    this.#beneath.end()
  }

  destroy(): void {
    this.#beneath.destroy()
  }

  hold(alive: boolean): void {
    this.#beneath.hold(alive)
  }
}
