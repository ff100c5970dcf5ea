/** A proxy that cuts connections and delays and splits their bytes, controlled by a seed. */

import type { AddressInfo } from 'node:net'
import { createConnection, createServer, type Socket } from 'node:net'
import { randomFrom } from '../../src/testing/conformance/random.ts'

export interface Unkindness {
  readonly seed: number
  /** A connection is cut after about this time, but not within `graceMs` after the server's first answer. */
  readonly livesMs: number
  readonly graceMs: number
  /** Bytes are forwarded in pieces of up to this size, each delayed by up to `delayMs`. */
  readonly pieceBytes: number
  readonly delayMs: number
  /** The share of the pieces that is delayed, from 0 to 1. */
  readonly delayed: number
}

export interface UnkindProxy {
  readonly port: number
  /** The number of connections that were cut. */
  readonly cuts: number
  close(): Promise<void>
}

export async function unkindProxy(port: number, how: Unkindness): Promise<UnkindProxy> {
  const random = randomFrom(how.seed)
  const open = new Set<Socket>()
  let cuts = 0
  const forward = (from: Socket, to: Socket): void => {
    let queue = Promise.resolve()
    from.on('data', (chunk: Buffer) => {
      from.pause()
      queue = queue.then(async () => {
        for (let at = 0; at < chunk.length; ) {
          const bytes = 1 + random.below(how.pieceBytes)
          if (random.chance(how.delayed))
            await new Promise((resolve) => setTimeout(resolve, random.below(how.delayMs + 1)))
          if (to.destroyed) return
          if (!to.write(chunk.subarray(at, at + bytes)))
            await new Promise((resolve) => to.once('drain', resolve).once('close', resolve))
          at += bytes
        }
        from.resume()
      })
    })
    from.on('end', () => void queue.then(() => to.end()))
    from.on('error', () => to.destroy())
    from.on('close', () => void queue.then(() => to.destroy()))
  }
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    const onward = createConnection({ port, host: '127.0.0.1', noDelay: true })
    for (const socket of [client, onward]) {
      open.add(socket)
      socket.on('close', () => open.delete(socket))
    }
    forward(client, onward)
    forward(onward, client)
    let cut: NodeJS.Timeout | undefined
    const end = (): void => {
      if (client.destroyed) return
      cuts++
      // Both ends are cut: sometimes each end notices by itself, and not at once.
      client.destroy()
      onward.destroy()
    }
    // The server has answered the hello, which comes after the request to upgrade. On a busy machine that can take
    // longer than a connection lives.
    let asked = 0
    client.on('data', () => asked++)
    onward.on('data', () => {
      if (asked > 1) cut ??= setTimeout(end, how.graceMs + random.below(how.livesMs))
    })
    client.on('close', () => clearTimeout(cut))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    get cuts() {
      return cuts
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of open) socket.destroy()
      }),
  }
}
