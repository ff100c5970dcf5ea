/**
 * Checks when connecting to NATS: the credentials, the server's version, and whether it syncs before it acknowledges.
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { nkeys } from '@nats-io/transport-node'
import { afterEach, describe, expect, it } from 'vitest'
import { type NatsOptions, natsKind } from '../../scripts/engines/engines.ts'
import { freePort, Server } from '../../scripts/engines/server.ts'
import type { Alarm } from '../../src/broker/description.ts'
import { type Broker, connect, stream } from '../../src/index.ts'
import { collecting, ItemAdded } from './cases.ts'
import { kindOf } from './servers.ts'

const newest = kindOf('nats (newest)', () => natsKind({ version: 'newest' }))
const installed = kindOf('nats (installed)', () => natsKind({ version: 'installed' }))

const open: (Broker | Server)[] = []
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await (each instanceof Server ? each.stop() : each.close())
})

async function serve(options: NatsOptions): Promise<Server> {
  const server = await Server.start(natsKind({ version: 'newest', ...options }))
  open.push(server)
  return server
}

async function opened(url: string, alarms: Alarm[] = []): Promise<Broker> {
  const broker = await connect(url, { onAlarm: (alarm) => alarms.push(alarm) })
  open.push(broker)
  return broker
}

const durability = async (broker: Broker) => (await broker.describe()).capabilities[1]

describe.skipIf(installed === undefined)('the server of the system', () => {
  it('is refused by name, version and clause when it is too old', async ({ skip }) => {
    if (installed === undefined) return
    const server = await Server.start(installed)
    open.push(server)
    const found = await connect(`${server.url}?durable=declared`).then(
      async (broker) => void (await broker.close()),
      (error: Error) => error,
    )
    // A newer system has a newer server.
    if (found === undefined) return skip('the installed server is new enough')
    expect(found).toMatchObject({ code: 'CLAUSE_REFUSED', details: { clauses: [1, 9], oldest: '2.12.1' } })
    expect(found.message).toMatch(/^nats: nats-server \d+\.\d+\.\d+ is too old for clause 1 \(durable/)
  })
})

describe.skipIf(newest === undefined)('a NATS server', () => {
  it('that does not answer is UNAVAILABLE', async () => {
    await expect(connect(`nats://127.0.0.1:${await freePort()}`)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      retryable: true,
    })
  })

  it('without JetStream is refused', async () => {
    const server = await serve({ more: 'accounts { A { users = [ { user: a, password: a } ] } }' })
    await expect(connect(`${server.url}?user=a&pass=a`)).rejects.toMatchObject({
      code: 'CLAUSE_REFUSED',
      details: { clauses: [1] },
    })
    await expect(connect(`${server.url}?user=a&pass=wrong`)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
  })

  it('takes users, passwords and tokens from the URL', async () => {
    const server = await serve({ more: 'authorization { token: "s3cret" }' })
    await expect(connect(server.url)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    const broker = await opened(`${server.url.replace('//', '//s3cret@')}?durable=declared`)
    expect((await broker.publish(stream('notes'), { type: 'note' })).offset).toBe(1)
  })

  it('takes an nkey, by its seed in a file', async () => {
    const user = nkeys.createUser()
    const server = await serve({ more: `authorization { users: [ { nkey: ${user.getPublicKey()} } ] }` })
    const seed = join(server.folder, 'user.nk')
    writeFileSync(seed, `${Buffer.from(user.getSeed()).toString()}\n`)
    await expect(connect(server.url)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' })
    expect((await (await opened(`${server.url}?durable=declared&nkey=${seed}`)).describe()).engine).toBe('nats')
  })

  it('is reached over TLS if it requires that, and is refused with a certificate of an unknown authority', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'millrace-tls-'))
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const request = [
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:prime256v1',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=localhost',
    ]
    execFileSync('openssl', [...request, '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert], {
      stdio: 'ignore',
    })
    const server = await serve({ more: `tls { cert_file: "${cert}", key_file: "${key}" }` })
    const url = `tls://localhost:${server.port}`
    await expect(connect(`${url}?durable=declared`)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    for (const each of [url, url.replace('tls:', 'nats:')]) {
      const broker = await opened(`${each}?durable=declared&ca=${cert}`)
      expect((await broker.publish(stream('notes'), { type: 'note' })).duplicate).toBe(false)
    }
    rmSync(folder, { recursive: true })
  })

  it('whose account lacks a permission fails with its name at once; everything works with those of the documentation', async () => {
    const users = (publish: string, subscribe: string): string =>
      `{ user: app, password: pw, permissions: { publish: [${publish}], subscribe: [${subscribe}] } }`
    const account = (publish: string, subscribe: string): string =>
      `accounts { A { jetstream: enabled, users: [ ${users(publish, subscribe)} ] } }`
    const url = (server: { readonly port: number }): string => `nats://app:pw@127.0.0.1:${server.port}?durable=declared`
    const begun = performance.now()
    const without = await serve({ more: account('"millrace.>", "$JS.API.INFO"', '"_INBOX.>"') })
    await expect(connect(url(without))).rejects.toMatchObject({
      code: 'FORBIDDEN',
      retryable: false,
      message: expect.stringContaining('$JS.API.STREAM'),
    })
    const deaf = await serve({ more: account('"millrace.>", "$JS.API.>"', '"millrace.>"') })
    await expect(connect(url(deaf))).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining('_INBOX'),
    })
    expect(performance.now() - begun).toBeLessThan(25_000)
    const enough = await serve({ more: account('"millrace.>", "$JS.API.>"', '"millrace.>", "_INBOX.>"') })
    const alarms: Alarm[] = []
    const broker = await opened(url(enough), alarms)
    await broker.declare(stream('notes'))
    const given = await collecting(broker, 'notes')
    await broker.publish('notes', ItemAdded({ sku: 'tea' }))
    await broker.publish('notes', ItemAdded({ sku: 'late' }), { delay: 10 })
    await expect.poll(() => given.length, { timeout: 10_000 }).toBe(2)
    await broker.describe()
    expect(alarms).toEqual([])
  })

  it('without TLS is refused by tls:', async () => {
    const server = await serve({})
    await expect(connect(server.url.replace('nats:', 'tls:'))).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('tls'),
    })
  })

  it('that shows an ordinary account nothing is used, with an alarm unless the URL declares its settings', async () => {
    const server = await serve({})
    const alarms: Alarm[] = []
    const broker = await opened(server.url, alarms)
    expect(alarms).toMatchObject([
      { code: 'DURABILITY_UNPROVED', message: expect.stringContaining('sync_interval: always') },
    ])
    expect((await broker.describe()).alarms).toMatchObject([{ code: 'DURABILITY_UNPROVED' }])
    expect((await durability(broker)).reason).toContain('not proved')
    const declared = await opened(`${server.url}?durable=declared`, alarms)
    expect(alarms).toHaveLength(1)
    expect((await durability(declared)).reason).toContain('durable=declared')
    await expect(connect(`${server.url}?durable=proved`)).rejects.toMatchObject({
      code: 'CLAUSE_REFUSED',
      details: { clauses: [1], setting: 'sync_interval' },
    })
  })

  it.each([[true], [false]])(
    'whose account may ask the system account is judged by the answer: synced %s',
    async (synced) => {
      const system = 'SYS { exports = [ { service: "$SYS.REQ.SERVER.PING.JSZ", response: stream } ] }'
      const own =
        'A { jetstream: enabled, users = [ { user: a, password: a } ], imports = [ { service: { account: SYS, subject: "$SYS.REQ.SERVER.PING.JSZ" } } ] }'
      const server = await serve({ synced, more: `system_account: SYS\naccounts { ${system}, ${own} }` })
      const url = `${server.url}?user=a&pass=a&durable=proved`
      if (synced) expect((await durability(await opened(url))).reason).toContain('says that it syncs always')
      else
        await expect(connect(url)).rejects.toMatchObject({
          code: 'CLAUSE_REFUSED',
          message: expect.stringContaining('every 120 s'),
        })
    },
  )

  it('is judged by its monitoring address, and used with weaker settings only if the URL says so', async () => {
    const port = await freePort()
    const server = await serve({ synced: false, more: `http: "127.0.0.1:${port}"` })
    const monitor = `monitor=http://127.0.0.1:${port}`
    await expect(connect(`${server.url}?${monitor}`)).rejects.toMatchObject({
      code: 'CLAUSE_REFUSED',
      details: { intervalMs: 120_000 },
    })
    const broker = await opened(`${server.url}?durable=weaker&${monitor}`)
    expect(await durability(broker)).toMatchObject({
      support: 'refused',
      reason: expect.stringContaining('durable=weaker'),
    })
    await expect(connect(`${server.url}?monitor=http://127.0.0.1:${await freePort()}`)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
    })
  })

  it('that syncs is proved by its monitoring address', async () => {
    const port = await freePort()
    const server = await serve({ more: `http: "127.0.0.1:${port}"` })
    const alarms: Alarm[] = []
    const broker = await opened(`${server.url}?monitor=http://127.0.0.1:${port}`, alarms)
    expect(alarms).toEqual([])
    expect(await durability(broker)).toMatchObject({
      support: 'native',
      reason: expect.stringContaining('syncs always'),
    })
  })
})
