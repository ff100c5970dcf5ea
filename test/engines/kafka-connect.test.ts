/** Connecting to Kafka: the URL, the credentials, and the error when no broker answers. */
import { AclOperations, AclPermissionTypes, Admin, ResourcePatternTypes, ResourceTypes } from '@platformatic/kafka'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { kafkaKind } from '../../scripts/engines/engines.ts'
import { freePort, Server } from '../../scripts/engines/server.ts'
import { parseKafkaUrl } from '../../src/engines/kafka/url.ts'
import { connect, stream } from '../../src/index.ts'
import { collecting, ItemAdded } from './cases.ts'
import { kindOf } from './servers.ts'

const LOGIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required'
const kind = kindOf('kafka', () =>
  kafkaKind({
    'listener.security.protocol.map': 'PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT',
    'sasl.enabled.mechanisms': 'PLAIN',
    'sasl.mechanism.inter.broker.protocol': 'PLAIN',
    'authorizer.class.name': 'org.apache.kafka.metadata.authorizer.StandardAuthorizer',
    'super.users': 'User:admin;User:ANONYMOUS',
    'listener.name.plaintext.plain.sasl.jaas.config': `${LOGIN} username="admin" password="a" user_admin="a" user_shop="open sesame";`,
  }),
)

/** Give the account `shop` what docs/engines/kafka.md names, on the topics of a prefix. */
async function permit(server: Server, prefix: string): Promise<void> {
  const admin = new Admin({
    clientId: 'test',
    bootstrapBrokers: [server.url.replace('kafka://', '')],
    sasl: { mechanism: 'PLAIN', username: 'admin', password: 'a' },
  })
  const { READ, WRITE, CREATE, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS } = AclOperations
  const topics = {
    resourceType: ResourceTypes.TOPIC,
    resourceName: prefix,
    resourcePatternType: ResourcePatternTypes.PREFIXED,
  }
  const whose = { principal: 'User:shop', host: '*', permissionType: AclPermissionTypes.ALLOW }
  const operations = [READ, WRITE, CREATE, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS]
  await admin.createAcls({ creations: operations.map((operation) => ({ ...topics, ...whose, operation })) })
  await admin.close()
}

describe('the URL', () => {
  it('names the servers, the credentials and the options', () => {
    const target = parseKafkaUrl(
      'kafka://shop:open%20sesame@a:1,[::1]:2,c?prefix=shop.&partitions=8&mechanism=scram-sha-512&tls=true&patience=5s',
      undefined,
    )
    expect(target.seeds).toEqual([
      { host: 'a', port: 1 },
      { host: '::1', port: 2 },
      { host: 'c', port: 9092 },
    ])
    expect(target.security).toEqual({
      tls: {},
      tlsServerName: true,
      sasl: { mechanism: 'SCRAM-SHA-512', username: 'shop', password: 'open sesame' },
    })
    expect(target).toMatchObject({
      prefix: 'shop.',
      partitions: 8,
      durability: 'synced',
      replicas: -1,
      patienceMs: 5000,
    })
    expect(parseKafkaUrl('kafka://a?durable=replicated', 'secret')).toMatchObject({
      durability: 'replicated',
      replicas: 3,
      security: { sasl: { mechanism: 'OAUTHBEARER', token: 'secret' } },
    })
  })

  it.each([
    ['kafka://', 'url'],
    ['kafka://a:0', 'url'],
    ['kafka://a?colour=red', 'colour'],
    ['kafka://a?durable=maybe', 'durable'],
    ['kafka://a?partitions=0', 'partitions'],
    ['kafka://a?prefix=a/b', 'prefix'],
    ['kafka://a?mechanism=plain', 'mechanism'],
    ['kafka://a?mechanism=gssapi', 'mechanism'],
    ['kafka://a?ca=/nowhere/at/all.pem', 'ca'],
  ])('%s is refused by its %s', (url, option) => {
    expect(() => parseKafkaUrl(url, undefined)).toThrowError(
      expect.objectContaining({ code: 'INVALID_OPTION', details: { option } }),
    )
  })

  it('an address without a server fails soon', async () => {
    const port = await freePort()
    await expect(connect(`kafka://127.0.0.1:${port}?patience=300ms`)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      retryable: true,
    })
  })
})

describe.skipIf(kind === undefined)('a server that requires a password', () => {
  let server: Server
  beforeAll(async () => {
    if (kind !== undefined) server = await Server.start(kind)
  }, 120_000)
  afterAll(() => server?.stop(), 60_000)

  it('everything works for an account with the permissions of the documentation', async () => {
    const url = server.url.replace('kafka://', 'kafka://shop:open%20sesame@')
    await expect(connect(`${url}?prefix=shop.`)).rejects.toMatchObject({
      code: 'FORBIDDEN',
      message: expect.stringContaining('docs/engines/kafka.md'),
    })
    await permit(server, 'shop.')
    const broker = await connect(`${url}?prefix=shop.`)
    await broker.declare(stream('notes'))
    const given = await collecting(broker, 'notes')
    await broker.publish('notes', ItemAdded({ sku: 'tea' }))
    await broker.publish('notes', ItemAdded({ sku: 'late' }), { delay: 10 })
    await expect.poll(() => given.length, { timeout: 15_000 }).toBe(2)
    await broker.declare(stream('notes', { retain: { age: '1d' } }))
    expect((await broker.describe()).channels).toMatchObject([{ name: 'notes', bytes: null }])
    await broker.channel('notes').remove()
    await broker.close()
  }, 60_000)

  it('accepts a client with the password', async () => {
    const broker = await connect(server.url.replace('kafka://', 'kafka://admin:a@'))
    expect(await broker.publish(stream('notes'), { type: 'note', data: 1 })).toMatchObject({ offset: 0 })
    await broker.close()
  })

  it('refuses a client without it, and the client does not try again', async () => {
    const wrong = connect(server.url.replace('kafka://', 'kafka://shop:wrong@'))
    await expect(wrong).rejects.toMatchObject({ code: 'UNAUTHENTICATED', retryable: false })
    await expect(wrong).rejects.not.toThrow(/wrong@|"wrong"/)
  })
})
