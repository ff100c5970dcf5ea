import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseNatsUrl } from '../../src/engines/nats/nats-url.ts'

const parse = (url: string, environment: Readonly<Record<string, string>> = {}) => parseNatsUrl(url, environment)

describe('a NATS URL', () => {
  it('names the servers, and has defaults for the rest', () => {
    expect(parse('nats://localhost')).toEqual({
      connection: { servers: ['localhost'] },
      creds: null,
      seed: null,
      prefix: 'millrace',
      replicas: 1,
      partitions: null,
      durable: 'check',
      monitor: [],
      content: 'structured',
    })
  })

  it('takes several servers, with credentials before any of them', () => {
    const { connection } = parse('nats://ann:p%40ss@a:4222,nats://ann:p%40ss@b:4223,[::1]:4224/')
    expect(connection).toEqual({ servers: ['a:4222', 'b:4223', '[::1]:4224'], user: 'ann', pass: 'p@ss' })
  })

  it('takes a single name for a token, as NATS does', () => {
    expect(parse('nats://s3cret@host').connection).toEqual({ servers: ['host'], token: 's3cret' })
  })

  it('takes options', () => {
    const target = parse(
      'nats://h?user=u&pass=p&prefix=shop&replicas=3&partitions=8&durable=declared&content=binary&monitor=http://h:8222,http://i:8222',
    )
    expect(target).toMatchObject({
      connection: { user: 'u', pass: 'p' },
      prefix: 'shop',
      replicas: 3,
      partitions: 8,
      durable: 'declared',
      content: 'binary',
    })
    expect(target.monitor).toEqual(['http://h:8222', 'http://i:8222'])
  })

  it('requires TLS with tls:, and lets the server decide with nats:', () => {
    expect(parse('tls://h').connection.tls).toEqual({})
    expect(parse('nats://h').connection.tls).toBeUndefined()
    expect(parse('nats://h?ca=/ca.pem&cert=/c.pem&key=/k.pem&tlsfirst=true').connection.tls).toEqual({
      caFile: '/ca.pem',
      certFile: '/c.pem',
      keyFile: '/k.pem',
      handshakeFirst: true,
    })
  })

  it('takes from the environment only credentials that it does not have', () => {
    const environment = { NATS_USER: 'env', NATS_PASSWORD: 'word', NATS_CA: '/env.pem' }
    expect(parse('nats://h', environment).connection).toMatchObject({
      user: 'env',
      pass: 'word',
      tls: { caFile: '/env.pem' },
    })
    expect(parse('nats://ann:p@h', environment).connection).toMatchObject({ user: 'ann', pass: 'p' })
    expect(parse('nats://h', { NATS_TOKEN: 't' }).connection).toMatchObject({ token: 't' })
  })

  it('reads files of credentials and seeds', () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-nats-'))
    writeFileSync(join(folder, 'a.creds'), 'CREDS')
    writeFileSync(join(folder, 'a.nk'), 'SEED\n')
    expect(Buffer.from(parse(`nats://h?creds=${folder}/a.creds`).creds ?? []).toString()).toBe('CREDS')
    expect(Buffer.from(parse('nats://h', { NATS_NKEY: `${folder}/a.nk` }).seed ?? []).toString()).toBe('SEED')
    rmSync(folder, { recursive: true })
  })

  it.each([
    ['nats://', 'url'],
    ['nats://,h', 'url'],
    ['http://h', 'url'],
    ['nats://h?prefx=a', 'prefx'],
    ['nats://h?prefix=a.b', 'prefix'],
    ['nats://h?replicas=0', 'replicas'],
    ['nats://h?partitions=x', 'partitions'],
    ['nats://h?durable=maybe', 'durable'],
    ['nats://h?content=xml', 'content'],
    ['nats://h?creds=/not/there', 'creds'],
  ])('%s is refused', (url, option) => {
    expect(() => parse(url)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', details: expect.objectContaining({ option }) }),
    )
  })

  it('shows no secret in an error', () => {
    for (const url of ['nats://ann:secret@h?durable=maybe', 'nats://ann:secret@?x=1'])
      expect(() => parse(url)).toThrow(expect.not.stringContaining('secret'))
  })
})
