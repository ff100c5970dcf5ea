/** What is secret in the URL of a broker is read as it was meant, or refused; no error shows it. */
import { expect, test } from 'vitest'
import { withoutSecrets } from '../../src/base/shown.ts'
import { parseKafkaUrl } from '../../src/engines/kafka/url.ts'
import { parseNatsUrl } from '../../src/engines/nats/nats-url.ts'
import { redisSettings } from '../../src/engines/redis/redis-url.ts'
import { connect, isMillraceError } from '../../src/index.ts'

const SECRET = 'TOPSECRET'

test.each([
  // No engine has this scheme, or it is written wrong.
  `postgres://user:${SECRET}@host/db`,
  `amqp://user:${SECRET}@host`,
  `redis//:${SECRET}@host`,
  `natz://user:se/${SECRET}@host`,
  `http://${SECRET}@host`,
  `https://host/?access_token=${SECRET}`,
  `user:${SECRET}@host`,
  `${SECRET}@host`,
  // What stands there is not percent-encoded.
  `redis://:${SECRET}%@127.0.0.1:1`,
  `redis://user:x/${SECRET}@127.0.0.1:1`,
  `redis://user:x@${SECRET}@127.0.0.1:1`,
  `nats://user%:${SECRET}@127.0.0.1:1`,
  `nats://user:${SECRET}%@127.0.0.1:1`,
  `nats://user:${SECRET}@host:x`,
  `kafka://user:${SECRET}%@127.0.0.1:1`,
  `kafka://user:x@${SECRET}@127.0.0.1:1`,
  `ws://${SECRET}%@127.0.0.1:1`,
  `ws://${SECRET}@:1`,
  `ws://127.0.0.1:1/ws?access_token=${SECRET}`,
  `file://user:${SECRET}@host/data`,
  // Nobody answers there.
  `ws://${SECRET}@127.0.0.1:1`,
  `redis://user:${SECRET}@127.0.0.1:1`,
  `redis://:${SECRET}@127.0.0.1:1?sentinel=main&sentinelPassword=${SECRET}`,
  `nats://user:${SECRET}@127.0.0.1:1`,
  `nats://127.0.0.1:1?user=u&pass=${SECRET}`,
  `kafka://user:${SECRET}@127.0.0.1:1?patience=100ms`,
])('%s: the error does not show the secret', async (url) => {
  const error: unknown = await connect(url, { logger: false }).catch((refused: unknown) => refused)
  if (!isMillraceError(error)) throw error
  expect(error.message + JSON.stringify(error.details)).not.toContain(SECRET)
})

test('a password may hold colons on every engine', () => {
  expect(parseKafkaUrl('kafka://ann:a:b:c@host', undefined).security).toMatchObject({
    sasl: { username: 'ann', password: 'a:b:c' },
  })
  expect(parseNatsUrl('nats://ann:a:b:c@host', {}).connection).toMatchObject({ user: 'ann', pass: 'a:b:c' })
  expect(redisSettings('redis://ann:a:b:c@host')).toMatchObject({ username: 'ann', password: 'a:b:c' })
})

test.each([
  'nats://127.0.0.1:1?ca=/nowhere/ca.pem',
  'tls://127.0.0.1:1?cert=/nowhere/c.pem',
  'nats://127.0.0.1:1?key=/nowhere/k.pem',
])('%s: a file that cannot be read is no server that does not answer', async (url) => {
  await expect(connect(url)).rejects.toMatchObject({
    code: 'INVALID_OPTION',
    message: expect.stringContaining('/nowhere/'),
  })
})

test.each([
  ['redis://user:secret@host:6379/0?prefix=shop', 'redis://host:6379/0'],
  ['nats://u:p@a:1,nats://u:p@b:2', 'nats://b:2'],
  ['ws://token@host:8080/ws?access_token=x', 'ws://host:8080/ws'],
  ['nats://host?user=u&pass=p', 'nats://host'],
  ['file:./a@b', 'file:./a@b'],
  ['unix:/run/a@b.sock', 'unix:/run/a@b.sock'],
  ['memory:', 'memory:'],
  ['', ''],
])('%s is shown as %s', (url, shown) => {
  expect(withoutSecrets(url)).toBe(shown)
})
