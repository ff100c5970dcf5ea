/**
 * `millrace serve` is killed while it pushes: acknowledged events still reach the subscriber, in the order of their
 * key, with the same signature secret.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Webhook } from 'standardwebhooks'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Receiver, SECRET } from '../outbound/receiver.ts'
import { eventually } from '../rules/support.ts'

const main = join(import.meta.dirname, '../../dist/cli/main.js')
const EVENTS = 120
const KEYS = 4

let folder: string
let subscriber: Receiver
let serving: ChildProcess | undefined
let url = ''

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'millrace-push-crash-'))
  writeFileSync(join(folder, 'millrace.json'), '{"push":{"allow":["127.0.0.0/8"]}}')
  subscriber = new Receiver()
  await subscriber.start()
})
afterEach(async () => {
  await kill()
  await subscriber.stop()
  rmSync(folder, { recursive: true, force: true })
})

async function serve(): Promise<void> {
  const child = spawn(process.execPath, [
    main,
    'serve',
    '--data',
    join(folder, 'data'),
    '--port',
    '0',
    '--json',
    '--config',
    join(folder, 'millrace.json'),
  ])
  serving = child
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  await eventually(() => expect(said).toContain('\n'), 30_000)
  ;({ url } = JSON.parse(said) as { url: string })
}

async function kill(): Promise<void> {
  if (serving === undefined || serving.exitCode !== null || serving.signalCode !== null) return
  const ended = once(serving, 'exit')
  serving.kill('SIGKILL')
  await ended
}

async function call(method: string, path: string, body: object, type = 'application/json'): Promise<number> {
  const answer = await fetch(`${url}${path}`, { method, headers: { 'content-type': type }, body: JSON.stringify(body) })
  await answer.text()
  return answer.status
}

it('loses nothing that was acknowledged, and turns no key around', { timeout: 120_000 }, async () => {
  subscriber.answer = (response, count) =>
    setTimeout(() => response.writeHead(count % 7 === 0 ? 503 : 204).end(), count % 5)
  await serve()
  expect(await call('PUT', '/api/channels/orders', {})).toBe(201)
  const subscription = {
    channels: ['orders'],
    url: `${subscriber.url}`,
    secret: SECRET,
    concurrency: KEYS,
    attempts: 1000,
    backoff: { min: '5ms', max: '20ms' },
  }
  expect(await call('PUT', '/api/subscriptions/ledger', subscription)).toBe(201)
  const acknowledged: number[] = []
  for (let n = 0; n < EVENTS; n++) {
    const event = {
      specversion: '1.0',
      id: `e-${n}`,
      source: '/s',
      type: 't',
      partitionkey: `k-${n % KEYS}`,
      data: { n },
    }
    if ((await call('POST', '/channels/orders/events', event, 'application/cloudevents+json')) === 202)
      acknowledged.push(n)
    if (n % 40 === 25) {
      await kill()
      await serve()
    }
  }
  expect(acknowledged).toHaveLength(EVENTS)
  await eventually(() => expect(new Set(subscriber.ids).size).toBe(EVENTS), 60_000)
  const first = [
    ...new Set(subscriber.received.map(({ body }) => (JSON.parse(body) as { data: { n: number } }).data.n)),
  ]
  for (let key = 0; key < KEYS; key++)
    expect(first.filter((n) => n % KEYS === key)).toEqual(acknowledged.filter((n) => n % KEYS === key))
  for (const { body, headers } of subscriber.received)
    new Webhook(SECRET).verify(body, headers as Record<string, string>)
  const ids = new Map(
    subscriber.received.map(({ body, headers }) => [(JSON.parse(body) as { id: string }).id, headers['webhook-id']]),
  )
  for (const { body, headers } of subscriber.received)
    expect(headers['webhook-id']).toBe(ids.get((JSON.parse(body) as { id: string }).id))
})
