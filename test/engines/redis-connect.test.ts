/** Connecting to Redis: URLs, credentials, and the settings with which an acknowledgement is durable. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { describe, expect, it, test } from 'vitest'
import { redisKind } from '../../scripts/engines/engines.ts'
import { freePort } from '../../scripts/engines/server.ts'
import { checkDurability } from '../../src/engines/redis/durability.ts'
import { redisError } from '../../src/engines/redis/redis-errors.ts'
import { redisSettings } from '../../src/engines/redis/redis-url.ts'
import { type Alarm, connect, stream } from '../../src/index.ts'
import { kindOf, withServer } from './servers.ts'

const kind = kindOf('redis', () => redisKind())

describe('Redis URLs', () => {
  it.each([
    [
      'redis://',
      {
        tls: null,
        hosts: [{ host: '127.0.0.1', port: 6379 }],
        username: null,
        password: null,
        db: 0,
        prefix: 'millrace',
        topology: 'one',
      },
    ],
    [
      'rediss://a:b%40c@db.example:7000/3?prefix=shop&replicas=1',
      { tls: {}, username: 'a', password: 'b@c', db: 3, prefix: 'shop', replicas: 1 },
    ],
    ['redis://:pw@[::1]:7000', { username: null, password: 'pw', hosts: [{ host: '::1', port: 7000 }] }],
    [
      'redis://a,b:7?sentinel=main',
      {
        topology: 'sentinel',
        primary: 'main',
        hosts: [
          { host: 'a', port: 26_379 },
          { host: 'b', port: 7 },
        ],
      },
    ],
    ['redis://a:1,b:2?cluster=true&partitions=4', { topology: 'cluster', partitions: 4 }],
  ])('%s', (url, settings) => {
    expect(redisSettings(url)).toMatchObject(settings)
  })

  it.each([
    ['redis://host:port', 'host:port'],
    ['redis://host/x', 'database'],
    ['redis://host?prefix={a}', 'prefix'],
    ['redis://host?durable=no', 'always or everysec or memory'],
    ['redis://host?partitions=0', 'partitions'],
    ['redis://host?speed=1', 'speed'],
    ['redis://host?cluster=true&sentinel=a', 'both'],
    ['redis://host/1?cluster=true', 'cluster'],
    ['redis://%zz@host', 'percent-encoded'],
  ])('%s is refused', (url, why) => {
    expect(() => redisSettings(url)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(why) }),
    )
  })

  it('no Sentinel answers: UNAVAILABLE, at once', async () => {
    const [one, two] = [await freePort(), await freePort()]
    await expect(connect(`redis://127.0.0.1:${one},127.0.0.1:${two}?sentinel=main`)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringMatching(/sentinels are unreachable/i),
    })
  })

  it('nobody answers: UNAVAILABLE, at once', async () => {
    const port = await freePort()
    await expect(connect(`redis://127.0.0.1:${port}`)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('ECONNREFUSED'),
    })
  })
})

test('a server that loads its data, and says that its append-only file is off meanwhile, is judged after loading', async () => {
  const said = [
    'redis_version:7.0.15\r\nloading:1\r\naof_enabled:0',
    'redis_version:7.0.15\r\nloading:1\r\naof_enabled:0',
    'redis_version:7.0.15\r\nloading:0\r\naof_enabled:1',
  ]
  const call = async ([name, , setting]: readonly unknown[]): Promise<unknown> =>
    name === 'INFO' ? said.shift() : [setting, setting === 'appendfsync' ? 'always' : 'noeviction']
  expect(await checkDurability({ call }, redisSettings('redis://host'))).toMatchObject({
    capability: { support: 'native' },
    doubt: null,
  })
  expect(said).toEqual([])
})

describe.skipIf(kind === undefined)('a Redis with weaker settings', () => {
  it.each([
    [{ appendonly: 'no' }, 'appendonly', 'memory'],
    [{ 'maxmemory-policy': 'allkeys-lru', maxmemory: '100mb' }, 'maxmemory-policy', null],
  ])('%o is refused, and said which setting it is', async (settings, setting, accepted) => {
    await withServer(redisKind(settings as unknown as Record<string, string>), async ({ url }) => {
      await expect(connect(url)).rejects.toMatchObject({
        code: 'CLAUSE_REFUSED',
        details: { engine: 'redis', clause: 1, setting },
      })
      if (accepted === null) return
      const broker = await connect(`${url}?durable=${accepted}`)
      expect((await broker.describe()).capabilities[1]).toMatchObject({
        support: 'refused',
        reason: expect.stringContaining('durable=memory'),
      })
      await broker.close()
    })
  })

  it('one that syncs each second is refused, or each write waits for its disk (from 7.2 on)', async () => {
    await withServer(redisKind({ appendfsync: 'everysec' }), async ({ url }) => {
      const plain = new Redis(url)
      const [major = 0, minor = 0] = (/redis_version:([\d.]+)/.exec(await plain.info('server'))?.[1] ?? '')
        .split('.')
        .map(Number)
      await plain.quit()
      if (major === 7 && minor < 2) {
        await expect(connect(url)).rejects.toMatchObject({
          code: 'CLAUSE_REFUSED',
          message: expect.stringContaining('?durable=everysec'),
        })
      } else {
        const broker = await connect(url)
        expect((await broker.describe()).capabilities[1]).toMatchObject({
          support: 'emulated',
          reason: expect.stringContaining('WAITAOF'),
        })
        await broker.publish(stream('notes'), { type: 'note', data: 1 })
        await broker.close()
      }
      const broker = await connect(`${url}?durable=everysec`)
      expect((await broker.describe()).capabilities[1]).toMatchObject({
        support: 'refused',
        reason: expect.stringContaining('everysec'),
      })
      await broker.publish(stream('notes'), { type: 'note', data: 1 })
      await broker.close()
    })
  })

  it('one whose settings become weaker while the connection is away gets no more writes', async () => {
    await withServer(redisKind(), async (server) => {
      const alarms: Alarm[] = []
      const broker = await connect(server.url, { onAlarm: (alarm) => void alarms.push(alarm) })
      const notes = stream('notes')
      await broker.publish(notes, { type: 'note', data: 1 })
      const plain = new Redis(server.url)
      await plain.config('SET', 'appendonly', 'no')
      await plain.call('CLIENT', 'KILL', 'TYPE', 'normal')
      await expect.poll(() => alarms.map(({ code }) => code), { timeout: 10_000 }).toContain('CLAUSE_REFUSED')
      await expect(broker.publish(notes, { type: 'note', data: 2 })).rejects.toMatchObject({ code: 'CLAUSE_REFUSED' })
      plain.disconnect()
      await broker.close()
    })
  })
})

describe.skipIf(kind === undefined)('the credentials of Redis', () => {
  it('a wrong password is UNAUTHENTICATED; a user that may not read the settings is accepted, with an alarm if they cannot be proved', async () => {
    await withServer(redisKind(), async ({ url, port }) => {
      const plain = new Redis(url)
      await plain.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~{shop}:*', '&{shop}:*', '+@all', '-config')
      await expect(connect(`redis://app:wrong@127.0.0.1:${port}?prefix=shop`)).rejects.toMatchObject({
        code: 'UNAUTHENTICATED',
      })
      const alarms: Alarm[] = []
      const broker = await connect(`redis://app:secret@127.0.0.1:${port}?prefix=shop`, {
        onAlarm: (alarm) => void alarms.push(alarm),
      })
      await broker.publish(stream('notes'), { type: 'note', data: 1 })
      const { reason } = (await broker.describe()).capabilities[1]
      expect(reason.includes('WAITAOF') || alarms.some(({ code }) => code === 'CLAUSE_REFUSED')).toBe(true)
      await broker.close()
      // Those that docs/engines/redis.md names.
      await plain.call(
        'ACL',
        'SETUSER',
        'least',
        'on',
        '>secret',
        '~{shop}:*',
        '&{shop}:*',
        '+@all',
        '-@admin',
        '-@dangerous',
        '+info',
      )
      const least = await connect(`redis://least:secret@127.0.0.1:${port}?prefix=shop`)
      await least.publish(stream('notes'), { type: 'note', data: 2 })
      expect((await least.describe()).channels.map(({ next }) => next)).toEqual([2])
      await least.close()
      await expect(connect(`redis://app:secret@127.0.0.1:${port}?prefix=other`)).rejects.toMatchObject({
        code: 'FORBIDDEN',
      })
      await plain.quit()
    })
  })
})

describe.skipIf(kind === undefined)('a database of Redis', () => {
  it('that the server does not have, or the user may not select, is refused, and nothing is read or written elsewhere', async () => {
    await withServer(redisKind(), async ({ url, port }) => {
      const plain = new Redis(url)
      await expect(connect(`${url}/99`)).rejects.toMatchObject({
        code: 'INVALID_OPTION',
        message: expect.stringContaining('databases'),
      })
      await plain.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-select')
      await expect(connect(`redis://app:secret@127.0.0.1:${port}/3`)).rejects.toMatchObject({ code: 'FORBIDDEN' })
      expect(await plain.dbsize()).toBe(0)
      await plain.quit()
    })
  })

  it('is kept when the connection is made again: if it cannot be selected any more, nothing goes to another one', async () => {
    await withServer(redisKind(), async ({ url, port }) => {
      const plain = new Redis(url)
      await plain.call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all')
      const alarms: Alarm[] = []
      const broker = await connect(`redis://app:secret@127.0.0.1:${port}/3`, {
        onAlarm: (alarm) => void alarms.push(alarm),
      })
      const notes = stream('notes')
      await broker.publish(notes, { type: 'note', data: 1 })
      await plain.call('ACL', 'SETUSER', 'app', '-select')
      await plain.call('CLIENT', 'KILL', 'USER', 'app')
      const published = broker.publish(notes, { type: 'note', data: 2 })
      await expect.poll(() => alarms.map(({ code }) => code), { timeout: 10_000 }).toContain('UNAVAILABLE')
      expect(await plain.dbsize()).toBe(0)
      await plain.call('ACL', 'SETUSER', 'app', '+select')
      await expect(published).resolves.toMatchObject({ offset: 1 })
      expect(await plain.dbsize()).toBe(0)
      await broker.close()
      await plain.quit()
    })
  }, 40_000)
})

describe.skipIf(kind === undefined)('Redis over TLS', () => {
  it('is reached with a private authority and a client certificate; a port without TLS gets a clear error', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-tls-'))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost']
    execFileSync(
      'openssl',
      [...request, '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', key, '-out', cert],
      { stdio: 'ignore' },
    )
    const tlsPort = await freePort()
    const tls = { 'tls-port': `${tlsPort}`, 'tls-cert-file': cert, 'tls-key-file': key, 'tls-ca-cert-file': cert }
    await withServer(redisKind(tls), async ({ port }) => {
      for (const host of ['localhost', '127.0.0.1']) {
        const broker = await connect(`rediss://${host}:${tlsPort}?ca=${cert}&cert=${cert}&key=${key}`)
        await broker.publish(stream('notes'), { type: 'note', data: 1 })
        await broker.close()
      }
      await expect(connect(`rediss://localhost:${tlsPort}`)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        message: expect.stringContaining('?ca='),
      })
      await expect(connect(`redis://localhost:${tlsPort}`)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        message: expect.stringContaining('rediss:'),
      })
      await expect(connect(`rediss://localhost:${port}?ca=${cert}`)).rejects.toMatchObject({
        code: 'UNAVAILABLE',
        message: expect.stringContaining('redis:'),
      })
    }).finally(() => rmSync(folder, { recursive: true }))
  })

  it.each([
    ['redis://host?ca=/a.pem', 'rediss:'],
    ['rediss://host?ca=/not/there.pem', '/not/there.pem'],
    ['rediss://host?cert=/not/there.pem', '/not/there.pem'],
  ])('%s is refused', (url, why) => {
    expect(() => redisSettings(url)).toThrow(
      expect.objectContaining({ code: 'INVALID_OPTION', message: expect.stringContaining(why) }),
    )
  })
})

describe.skipIf(kind === undefined)('a Redis cluster', () => {
  it('without cluster=true in the URL gets an error that says so', () => {
    const moved = Object.assign(new Error('MOVED 13139 127.0.0.1:7001'), { name: 'ReplyError' })
    expect(redisError(moved, 'listing channels')).toMatchObject({
      code: 'INVALID_OPTION',
      message: expect.stringContaining('cluster=true'),
    })
  })

  it('has everything of a prefix on one node (tested with a cluster of one node)', async () => {
    await withServer(
      redisKind({ 'cluster-enabled': 'yes', 'cluster-announce-ip': '127.0.0.1' }),
      async ({ url, port }) => {
        const plain = new Redis(url)
        await plain.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
        await expect
          .poll(async () => String(await plain.call('CLUSTER', 'INFO')), { timeout: 15_000 })
          .toContain('cluster_state:ok')
        const broker = await connect(`redis://127.0.0.1:${port}?cluster=true&prefix=shop`)
        const notes = stream('notes')
        await broker.publish(
          notes,
          [1, 2, 3].map((data) => ({ type: 'note', data })),
        )
        const read: unknown[] = []
        for await (const { data } of broker.read(notes)) read.push(data)
        expect(read).toEqual([1, 2, 3])
        await broker.close()
        await plain.quit()
      },
    )
  })
})
