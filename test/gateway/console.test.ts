/** The console's files over HTTP, and what they weigh. Needs `npm run build`. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createGateway, type Gateway } from '../../src/gateway/index.ts'
import { type Broker, connect } from '../../src/index.ts'

const folder = fileURLToPath(new URL('../../dist/console/', import.meta.url))
const KB = 1000

let broker: Broker
beforeAll(async () => {
  if (!existsSync(folder)) expect.fail('there is no dist/console: run `npm run build` first')
  broker = await connect('memory:')
})
afterAll(() => broker.close())

async function withConsole(
  console: boolean | { path?: string; traceUrl?: string },
  use: (get: (path: string, headers?: Record<string, string>) => Promise<Response>, gateway: Gateway) => Promise<void>,
): Promise<void> {
  const gateway = createGateway(broker, { console, drain: 0 })
  const get = async (path: string, headers = {}): Promise<Response> =>
    gateway.fetch(new Request(`http://localhost${path}`, { headers }))
  await use(get, gateway).finally(() => gateway.close())
}

describe('the console over HTTP', () => {
  test('tells the page where traces are shown, and refuses what is no such address', async () => {
    const traceUrl = 'https://traces.example/t/{traceId}?a=1&b="2"'
    await withConsole({ traceUrl }, async (get) => {
      const text = await (await get('/console/')).text()
      expect(text).toContain('content="https://traces.example/t/{traceId}?a=1&amp;b=&quot;2&quot;"')
    })
    for (const wrong of ['javascript:alert("{traceId}")', 'https://traces.example/', '/t/{traceId}', 7])
      expect(() => createGateway(broker, { console: { traceUrl: wrong as string } })).toThrow('traceUrl')
  })

  test('is served at the path that the option names, and nowhere without it', async () => {
    await withConsole(true, async (get) => {
      const page = await get('/console/')
      expect([page.status, page.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8'])
      expect(await page.text()).toContain('<meta name="millrace-root" content="../"')
      const moved = await get('/console?view=rules')
      expect([moved.status, moved.headers.get('location')]).toEqual([308, 'console/?view=rules'])
      expect((await get('/')).status).toBe(404)
    })
    await withConsole({ path: '/' }, async (get) => {
      expect(await (await get('/')).text()).toContain('content="./"')
      expect((await get('/health')).status).toBe(200)
    })
    await withConsole({ path: '/ops/console' }, async (get) =>
      expect(await (await get('/ops/console/')).text()).toContain('content="../../"'),
    )
    await withConsole(false, async (get) => expect((await get('/console/')).status).toBe(404))
  })

  test('refuses a malformed path', () => {
    for (const path of ['console', '/console/', '/a//b', '/../x', '/a b', 3 as unknown as string])
      expect(() => createGateway(broker, { console: { path } }), String(path)).toThrow(/console\.path/)
    expect(() => createGateway(broker, { console: 'yes' as unknown as boolean })).toThrow(/console must be/)
  })

  test('allows nothing inline, and says how long each file may be cached', async () => {
    await withConsole({ path: '/' }, async (get) => {
      const page = await get('/')
      const policy = page.headers.get('content-security-policy') ?? ''
      expect(policy).toContain("default-src 'none'")
      expect(policy).toContain("frame-ancestors 'none'")
      expect(policy).not.toMatch(/unsafe|\*|https?:/)
      expect(page.headers.get('cache-control')).toBe('no-cache')
      const text = await page.text()
      expect(text).not.toMatch(/<script(?![^>]* src=)|<style|\son\w+=|style=|https?:\/\//)
      const [, script] = /src="\.\/(assets\/[^"]+)"/.exec(text) ?? []
      const asset = await get(`/${script}`, { 'accept-encoding': 'gzip' })
      expect(asset.headers.get('cache-control')).toContain('immutable')
      expect([asset.headers.get('content-encoding'), asset.headers.get('x-content-type-options')]).toEqual([
        'gzip',
        'nosniff',
      ])
      for (const path of ['/assets/none.js', '/assets/..%2Findex.html', '/assets/%2e%2e/index.html'])
        expect((await get(path)).status, path).toBe(404)
    })
  })

  test('names the licence of every package in it', async () => {
    await withConsole({ path: '/' }, async (get) => {
      const text = await (await get('/THIRD-PARTY.txt')).text()
      for (const name of ['react', 'react-dom', '@xyflow/react', '@dagrejs/dagre']) expect(text).toContain(`\n${name} `)
      expect(text).not.toContain('no licence named')
    })
  })
})

describe('the weight of the console', () => {
  const weight = (names: readonly string[]): number =>
    names.reduce((sum, name) => sum + gzipSync(readFileSync(join(folder, name)), { level: 9 }).length, 0)

  test('all of it is at most 300 KB compressed', () => {
    const all = readdirSync(join(folder, 'assets')).map((name) => `assets/${name}`)
    expect(weight(['index.html', ...all])).toBeLessThan(300 * KB)
  })

  test('what the page loads before its first view is at most 140 KB', () => {
    const page = readFileSync(join(folder, 'index.html'), 'utf8')
    const first = [...page.matchAll(/(?:src|href)="\.\/(assets\/[^"]+)"/g)].map(([, name]) => name as string)
    expect(first.length).toBeGreaterThan(1)
    expect(weight(['index.html', ...first])).toBeLessThan(140 * KB)
  })
})
