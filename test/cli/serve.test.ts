/** `millrace serve` in use, with what it runs beside the gateway. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../rules/support.ts'

const main = join(import.meta.dirname, '../../dist/cli/main.js')

test('`serve --history` takes a number of objects, or off', { timeout: 60_000 }, async () => {
  const wrong = spawn(process.execPath, [main, 'serve', '--data', tmpdir(), '--history', '0'])
  expect((await once(wrong, 'exit'))[0]).toBe(2)
})

test('`serve` runs rules that are added over HTTP, even if there were none at its start', {
  timeout: 60_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-serve-'))
  const serving = spawn(process.execPath, [main, 'serve', '--data', folder, '--port', '0', '--json'])
  let said = ''
  serving.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString()
  })
  const ended = once(serving, 'exit')
  try {
    await eventually(() => expect(said).toContain('\n'), 30_000)
    const { url } = JSON.parse(said) as { url: string }
    const call = async (method: string, path: string, body?: object): Promise<string> => {
      const answer = await fetch(`${url}${path}`, {
        method,
        ...(body !== undefined && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
      })
      return answer.text()
    }
    expect(JSON.parse(await call('GET', '/api/describe'))).toMatchObject({ channels: [] })
    await call('PUT', '/api/channels/orders', {})
    const then = { emit: { channel: 'alerts', create: 'stream', type: 'large', data: { n: '{{ data.n }}' } } }
    expect(JSON.parse(await call('PUT', '/api/rules/large', { on: 'orders', then }))).toMatchObject({
      revision: 1,
      from: { orders: 0 },
    })
    const event = { specversion: '1.0', id: '1', source: '/s', type: 't', data: { n: 7 } }
    await fetch(`${url}/channels/orders/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body: JSON.stringify(event),
    })
    await eventually(
      async () => expect(await call('GET', '/channels/alerts/events')).toContain('"type":"large"'),
      20_000,
    )
  } finally {
    serving.kill()
    await ended
    rmSync(folder, { recursive: true })
  }
})
