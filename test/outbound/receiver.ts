/** A server that keeps the requests it received, and answers as the test says. */
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { StoredEvent } from '../../src/index.ts'

export const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'

export interface Received {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly atMs: number
}

export class Receiver {
  readonly received: Received[] = []
  url = ''
  answer: (response: ServerResponse, count: number, request: Received) => void = (response) =>
    response.writeHead(204).end()
  readonly #server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const { method = '', url: path = '', headers } = request
      const one = { method, path, headers, body: Buffer.concat(chunks).toString(), atMs: Date.now() }
      this.received.push(one)
      this.answer(response, this.received.length, one)
    })
  })

  async start(path = '/hook'): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    this.url = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}${path}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  /** The ids of the events received. The request before the first event, which asks for permission, carries none. */
  get ids(): string[] {
    return this.received
      .filter(({ method }) => method === 'POST')
      .map(({ body }) => (JSON.parse(body) as StoredEvent).id)
  }
}
