/**
 * `millrace/browser` in a real browser, from a page of another origin. Needs `npm run build`, and a Chromium as the
 * shop's test does.
 */
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, stream } from '../../src/index.ts'

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const built = fileURLToPath(new URL('../../dist/browser/index.js', import.meta.url))

interface Page {
  readonly receipts: unknown
  readonly got: readonly string[]
}

describe.skipIf(!existsSync(executablePath))('millrace/browser in a browser', () => {
  let broker: Broker
  let site: Server
  let gateway: ServingGateway
  let browser: Browser
  let origin: string

  beforeAll(async () => {
    if (!existsSync(built)) expect.fail('there is no dist: run `npm run build` first')
    broker = await connect('memory:')
    await broker.declare(stream('carts'))
    site = createServer((request, response) => {
      const script = request.url === '/millrace.js'
      response
        .setHeader('content-type', script ? 'text/javascript' : 'text/html')
        .end(script ? readFileSync(built) : '<title>shop</title>')
    })
    await new Promise<void>((resolve) => site.listen(0, '127.0.0.1', resolve))
    origin = `http://127.0.0.1:${(site.address() as AddressInfo).port}`
    gateway = await serveGateway(broker, { port: 0, cors: { origins: [origin] }, drain: '100ms' })
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await gateway?.close()
    site?.close()
    await broker?.close()
  })

  const visit = async (from: string): Promise<Page> => {
    const page = await (await browser.newContext()).newPage()
    await page.goto(from)
    // Passed as text, because the test runner's compiled imports do not run in a page.
    return page.evaluate<Page>(`(async () => {
      const { createClient } = await import('/millrace.js')
      const client = createClient(${JSON.stringify(gateway.url)})
      const receipts = await client.publish('carts', [{ type: 'cart.item.added', data: { sku: 'tea' } }, { type: 'cart.item.removed' }])
      const got = []
      for await (const { event } of client.subscribe('carts', { from: 'beginning' })) {
        got.push(event.type + ' from ' + (event.source === location.origin))
        if (got.length === 2) break
      }
      return { receipts, got }
    })()`)
  }

  test('publishes and follows, across origins that are named', { timeout: 60_000 }, async () => {
    expect(await visit(origin)).toMatchObject({
      receipts: [{ offset: 0 }, { offset: 1 }],
      got: ['cart.item.added from true', 'cart.item.removed from true'],
    })
  })
  test('a page of an origin that is not named gets nothing', { timeout: 60_000 }, async () => {
    const page = await (await browser.newContext()).newPage()
    await page.goto(origin.replace('127.0.0.1', 'localhost'))
    const answer = await page.evaluate(
      (url) =>
        fetch(`${url}/channels/carts/events`).then(
          () => 'read',
          (error: unknown) => String(error),
        ),
      gateway.url,
    )
    expect(answer).toContain('Failed to fetch')
  })
})
