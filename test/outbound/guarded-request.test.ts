/** Requests to addresses that a guard permits, over real connections. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { guardedRequest, KeptConnections, type Resolver } from '../../src/outbound/guarded-request.ts'
import { addressGuard } from '../../src/outbound/public-address.ts'
import { Receiver } from './receiver.ts'

let receiver: Receiver

beforeEach(async () => {
  receiver = new Receiver()
  await receiver.start()
})
afterEach(() => receiver.stop())

describe('a guarded request', () => {
  const request = (to: string) => ({
    url: to,
    method: 'POST',
    headers: {},
    body: '{}',
    timeoutMs: 2000,
    signal: new AbortController().signal,
  })
  const port = (): string => new URL(receiver.url).port

  it('connects to the address that was checked, also if the name resolves to another one later', async () => {
    const answers = [['127.0.0.1'], ['10.0.0.1']]
    let asked = 0
    const resolver: Resolver = (_hostname, found) =>
      found(
        null,
        (answers[asked++] ?? []).map((address) => ({ address, family: 4 })),
      )
    const { status } = await guardedRequest(
      request(`http://rebinding.example:${port()}/`),
      addressGuard(['127.0.0.1']),
      resolver,
    )
    expect([status, asked, receiver.received[0]?.headers.host]).toEqual([204, 1, `rebinding.example:${port()}`])
    await expect(
      guardedRequest(request(`http://rebinding.example:${port()}/`), addressGuard(['127.0.0.1']), resolver),
    ).rejects.toMatchObject({
      code: 'FORBIDDEN',
    })
  })

  it('reuses connections, and is sent again on a new one if a reused connection was closed', async () => {
    const connections = new KeptConnections(1)
    const used = new Map<unknown, number>()
    receiver.answer = (response) => {
      const { socket } = response
      used.set(socket, (used.get(socket) ?? 0) + 1)
      if (used.get(socket) === 3) socket?.destroy()
      else response.writeHead(200).end('hello')
    }
    for (let n = 0; n < 3; n++) {
      const { status, body, whole } = await guardedRequest(
        { ...request(receiver.url), connections },
        addressGuard(['127.0.0.1']),
      )
      expect([status, String(body), whole]).toEqual([200, 'hello', true])
    }
    expect([...used.values()]).toEqual([3, 1])
    // A new connection that is closed means that no answer came.
    receiver.answer = (response) => response.socket?.destroy()
    await expect(
      guardedRequest({ ...request(receiver.url), connections }, addressGuard(['127.0.0.1'])),
    ).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
    connections.close()
  })

  it('refuses a name that also resolves to a private address', async () => {
    const resolver: Resolver = (_hostname, found) =>
      found(null, [
        { address: '127.0.0.1', family: 4 },
        { address: '169.254.169.254', family: 4 },
      ])
    await expect(
      guardedRequest(request(`http://half.example:${port()}/`), addressGuard(['127.0.0.1']), resolver),
    ).rejects.toMatchObject({
      code: 'FORBIDDEN',
      details: { addresses: ['169.254.169.254'] },
    })
    expect(receiver.received).toEqual([])
  })

  it.each([
    'http://127.1/',
    'http://0x7f000001/',
    'http://2130706433/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::1]/',
    'http://localhost/',
    'http://169.254.169.254/latest',
  ])('refuses %s', async (to) => {
    await expect(guardedRequest(request(to), addressGuard([]))).rejects.toMatchObject({ code: 'FORBIDDEN' })
  })

  it('fails if a name has no address', async () => {
    const resolver: Resolver = (_hostname, found) => found(null, [])
    await expect(guardedRequest(request('http://nowhere.example/'), addressGuard([]), resolver)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
  })
})
