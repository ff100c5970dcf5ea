import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Gateway } from '../../src/gateway/index.ts'

import { accessWorld, call } from './access-world.ts'

const world = accessWorld()

describe('JSON Web Tokens', () => {
  const claims = { millrace: { read: ['orders.*'] } }
  let keys: Awaited<ReturnType<typeof generateKeyPair>>
  let jwksServer: Server
  let jwks: string
  let asked = 0

  beforeEach(async () => {
    keys = await generateKeyPair('ES256', { extractable: true })
    asked = 0
    const jwk = { ...(await exportJWK(keys.publicKey)), kid: 'k1', alg: 'ES256' }
    jwksServer = createServer((_, response) => {
      asked++
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [jwk] }))
    })
    await new Promise<void>((resolve) => jwksServer.listen(0, '127.0.0.1', resolve))
    jwks = `http://127.0.0.1:${(jwksServer.address() as AddressInfo).port}/jwks`
  })
  afterEach(() => {
    jwksServer.close()
  })

  const sign = (
    payload: object = claims,
    changes: {
      issuer?: string
      audience?: string
      expires?: string
      subject?: string | null
      key?: typeof keys.privateKey
    } = {},
  ): Promise<string> => {
    const jwt = new SignJWT({ ...payload }).setProtectedHeader({ alg: 'ES256', kid: 'k1' }).setIssuedAt()
    jwt.setIssuer(changes.issuer ?? 'https://id.example').setAudience(changes.audience ?? 'millrace')
    if (changes.subject !== null) jwt.setSubject(changes.subject ?? 'worker-7')
    if (changes.expires !== '') jwt.setExpirationTime(changes.expires ?? '5m')
    return jwt.sign(changes.key ?? keys.privateKey)
  }
  const jwtGateway = (): Gateway =>
    world.open({ access: { jwt: { jwks, issuer: 'https://id.example', audience: 'millrace' } } })
  const read = async (gateway: Gateway, token: string, channel = 'orders.eu'): Promise<number> =>
    (await call(gateway, `/channels/${channel}/events`, token)).status

  test('give permissions by a claim and by the scope', async () => {
    const gateway = jwtGateway()
    expect(await read(gateway, await sign())).toBe(200)
    expect(await read(gateway, await sign(), 'secrets')).toBe(403)
    const scoped = await sign({ scope: 'openid read:secrets publish:orders.*' })
    expect([await read(gateway, scoped, 'secrets'), await read(gateway, scoped)]).toEqual([200, 403])
    expect(await read(gateway, await sign({}))).toBe(403)
    expect(asked).toBe(1)
  })
  test('are refused with another issuer, audience, key or algorithm, without subject or expiry, and when expired', async () => {
    const gateway = jwtGateway()
    const stranger = await generateKeyPair('ES256')
    const [header, payload] = (await sign()).split('.') as [string, string]
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`
    const mac = await new SignJWT({ ...claims, iss: 'https://id.example', aud: 'millrace', sub: 'x', exp: 9e9 })
      .setProtectedHeader({ alg: 'HS256', kid: 'k1' })
      .sign(new TextEncoder().encode(JSON.stringify(await exportJWK(keys.publicKey))))
    const bad = [
      await sign(claims, { issuer: 'https://evil.example' }),
      await sign(claims, { audience: 'other' }),
      await sign(claims, { key: stranger.privateKey }),
      await sign(claims, { expires: '' }),
      await sign(claims, { expires: '-1m' }),
      await sign(claims, { subject: null }),
      await sign({ millrace: { read: 'all' } }),
      await sign({ millrace: { read: ['a.>.b'] } }),
      `${header}.${payload}.AAAA`,
      mac,
    ]
    for (const token of bad) expect(await read(gateway, token)).toBe(401)
    expect(await read(gateway, none)).toBe(401)
  })
  test('are answered with UNAVAILABLE if the keys cannot be fetched', async () => {
    jwksServer.close()
    jwksServer.closeAllConnections()
    expect(await call(jwtGateway(), '/api/describe', await sign())).toMatchObject({ status: 503, code: 'UNAVAILABLE' })
  })
  test('work beside tokens; unsafe options are refused', async () => {
    const both = world.open({
      access: { tokens: world.tokens, jwt: { jwks, issuer: 'https://id.example', audience: 'millrace' } },
    })
    expect(await read(both, await sign())).toBe(200)
    const jwt = { jwks, issuer: 'https://id.example', audience: 'millrace' }
    expect(() => world.open({ access: { jwt: { ...jwt, jwks: 'http://id.example/jwks' } } })).toThrow('https')
    expect(() => world.open({ access: { jwt: { ...jwt, algorithms: ['HS256'] } } })).toThrow('HS256')
    expect(() => world.open({ access: { jwt: { ...jwt, audience: '' } } })).toThrow('audience')
  })
})
