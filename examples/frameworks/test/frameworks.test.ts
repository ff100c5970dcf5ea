/** Each example on its real framework: requests, events, console, event streams, WebSockets, a stop and a new start. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { connect } from 'millrace'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { OrderPlaced, orders } from '../src/orders.ts'
import { Program } from './program.ts'

const EXAMPLES = [
  ['Express', 'express.js'],
  ['Fastify', 'fastify.js'],
  ['Hono', 'hono.js'],
  ['NestJS', 'nestjs/main.js'],
  ['Next.js (its route handlers, on a plain server)', 'next/server.js'],
] as const

const cli = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
/** A token that permits everything. Only the example of Next.js asks for one. */
function tokenIn(file: string): string {
  const everything = ['publish', 'consume', 'read', 'manage', 'rules'].flatMap((action) => [`--${action}`, '>'])
  const made = execFileSync(process.execPath, [cli, 'tokens', 'add', 'test', ...everything, '--file', file, '--json'])
  return (JSON.parse(made.toString()) as { token: string }).token
}

describe.each(EXAMPLES)('%s', (_, main) => {
  let folder: string
  let program: Program
  let authorization: { readonly authorization: string }
  const start = async (): Promise<void> => {
    const env = { BROKER_URL: `file:${join(folder, 'data')}`, MILLRACE_TOKENS: join(folder, 'tokens.json') }
    program = await Program.start(main, env)
  }

  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'millrace-frameworks-'))
    authorization = { authorization: `Bearer ${tokenIn(join(folder, 'tokens.json'))}` }
    await start()
  })
  afterEach(async () => {
    await program.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  const post = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
    const answer = await fetch(program.url + path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...authorization, ...headers },
      body: JSON.stringify(body),
    })
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
  }
  const order = (name: string): object => ({ order: name, email: `${name}@shop.example`, cents: 1250 })
  /** The orders that mails were sent about. */
  const mailed = async (): Promise<string[]> => {
    const answer = await fetch(`${program.url}/events/channels/mails/events`, { headers: authorization })
    if (!answer.ok) return []
    return ((await answer.json()) as { data: { order: string } }[]).map(({ data }) => data.order)
  }

  test('publishes what a route gets, once, and refuses what is wrong', async () => {
    expect(await post('/orders', order('a'))).toMatchObject({ status: 202, body: { offset: 0, duplicate: false } })
    expect(await post('/orders', order('a'))).toMatchObject({ status: 202, body: { offset: 0, duplicate: true } })
    expect((await post('/orders', { ...order('b'), email: 'nobody' })).status).toBe(422)
    await expect.poll(mailed).toEqual(['a'])
  })

  test('serves the gateway and the console below a path', async () => {
    const headers = { 'ce-specversion': '1.0', 'ce-id': 'h', 'ce-source': '/test', 'ce-type': 'order.placed' }
    await post('/orders', order('a'))
    // In binary mode: the event is in the headers, and its data is the body, which nobody may read before.
    expect(await post('/events/channels/orders/events', order('h'), headers)).toMatchObject({ status: 202 })
    await expect.poll(async () => (await mailed()).sort()).toEqual(['a', 'h'])
    const page = await fetch(`${program.url}/events/console/`)
    const [, script = ''] = /<script[^>]+src="([^"]+)"/.exec(await page.text()) ?? []
    expect(page.headers.get('content-security-policy')).toContain("script-src 'self'")
    const asset = await fetch(new URL(script, `${program.url}/events/console/`))
    expect([asset.status, asset.headers.get('content-type')]).toEqual([200, 'text/javascript; charset=utf-8'])
    expect(
      (await fetch(`${program.url}/events/channels/orders/events`, { method: 'HEAD', headers: authorization })).status,
    ).toBe(200)
    expect((await fetch(`${program.url}/events/no/such/path`)).headers.get('content-type')).toBe(
      'application/problem+json',
    )
  })

  test('takes WebSocket clients', async (context) => {
    if (main.startsWith('next/')) return context.skip('route handlers have no upgrades')
    const broker = await connect(`${program.url.replace('http', 'ws')}/events/ws`)
    await broker.publish(orders, OrderPlaced({ order: 'w', email: 'w@shop.example', cents: 1 }))
    await broker.close()
    await expect.poll(mailed).toEqual(['w'])
  })

  test('stops while an event stream is open, and continues where it was', async () => {
    await post('/orders', order('a'))
    const following = await fetch(`${program.url}/events/channels/orders/stream?from=beginning`, {
      headers: authorization,
    })
    const reader = (following.body as ReadableStream<Uint8Array>).getReader()
    let text = ''
    while (!text.includes('order.placed')) text += new TextDecoder().decode((await reader.read()).value)
    await expect.poll(mailed).toEqual(['a'])
    const exit = await program.kill('SIGTERM')
    // NestJS ends the process with the signal itself.
    expect([exit, program.output]).toEqual([
      main.startsWith('nestjs') ? 'SIGTERM' : 0,
      expect.stringMatching(/^listening on port \d+\n$/),
    ])
    await start()
    await post('/orders', order('b'))
    await expect.poll(mailed).toEqual(['a', 'b'])
  })
})
