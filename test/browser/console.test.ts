/**
 * The console in a real browser, against a real gateway over a broker on which events flow. Needs `npm run build`, and
 * a Chromium: Debian's, or the one that CHROMIUM names. Screenshots are left in `screenshots/`, for people to look at.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { openWorld, type World } from './console-world.ts'

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const built = fileURLToPath(new URL('../../dist/console/index.html', import.meta.url))
const screenshots = fileURLToPath(new URL('./screenshots/', import.meta.url))
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

interface Violation {
  readonly id: string
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
}

describe.skipIf(!existsSync(executablePath))('the console in a browser', () => {
  const complaints: string[] = []
  let world: World
  let gateway: ServingGateway
  let browser: Browser

  beforeAll(async () => {
    if (!existsSync(built)) expect.fail('there is no dist/console: run `npm run build` first')
    mkdirSync(screenshots, { recursive: true })
    world = await openWorld()
    await world.publish(30)
    gateway = await serveGateway(world.broker, { port: 0, drain: '100ms', console: { path: '/ops/console' } })
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await gateway?.close()
    await world?.close()
  })

  async function open(query = '', { width = 1360, height = 880, dark = false } = {}): Promise<Page> {
    const context = await browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? 'dark' : 'light',
      bypassCSP: false,
    })
    const page = await context.newPage()
    page.on('console', (message) => {
      // That the server refused what the test asked in vain is the one thing that a browser may complain of.
      if (message.text().includes('400 (Bad Request)')) return
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(`${query}: ${message.text()}`)
    })
    page.on('pageerror', (error) => complaints.push(`${query}: ${error.message}`))
    await page.goto(`${gateway.url}/ops/console/${query}`)
    await page.getByText('live', { exact: true }).waitFor()
    return page
  }

  /**
   * What WCAG 2.2 AA asks and a program can check. The policy of the page allows no inline script, so axe comes
   * through the debugger.
   */
  async function faultsOf(page: Page): Promise<string[]> {
    await page.evaluate(axe)
    const { violations } = await page.evaluate<{ readonly violations: readonly Violation[] }>(
      `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] })`,
    )
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`),
    )
  }

  /** In both themes and widths: no fault that axe finds, nothing that scrolls sideways, and a picture. */
  async function shown(name: string, query: string, ready: (page: Page) => Promise<unknown>): Promise<void> {
    for (const [suffix, size] of [
      ['', {}],
      ['-dark', { dark: true }],
      ['-phone', { width: 390, height: 844 }],
      ['-phone-dark', { width: 390, height: 844, dark: true }],
    ] as const) {
      const page = await open(query, size)
      await ready(page)
      expect.soft(await faultsOf(page), name + suffix).toEqual([])
      expect.soft(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), name + suffix).toBe(true)
      await page.screenshot({ path: join(screenshots, `console-${name}${suffix}.png`) })
      await page.context().close()
    }
  }

  test('the flow shows sources, channels, consumers and rules, and what connects them', {
    timeout: 60_000,
  }, async () => {
    const page = await open()
    for (const name of [
      '/shop/checkout',
      'https://acme.example/orders',
      'orders',
      'billing',
      'payments',
      'warehouse',
      'courier',
      'large-orders',
    ])
      await page.locator('.part-name', { hasText: name }).first().waitFor()
    await page.locator('.part', { hasText: 'mailer' }).locator('.badge.bad').waitFor()
    await world.publish(20)
    await expect
      .poll(async () => page.locator('.part', { hasText: /^Channelorders/ }).textContent())
      .toContain('50 kept')
    await page.getByRole('button', { name: 'Problems only' }).click()
    await expect.poll(() => page.locator('.part').count()).toBeLessThan(6)
  })

  test('the flow can be looked at in both themes and on a phone', { timeout: 90_000 }, async () => {
    await world.publish(20)
    await shown('flow', '', (page) => page.getByText('mailer', { exact: true }).first().waitFor())
    await shown('flow-part', '?part=consumer:mailer', (page) =>
      page.getByRole('complementary').getByText('Dead letters').first().waitFor(),
    )
  })

  test('a channel shows its events as they come, and a search is honest', { timeout: 90_000 }, async () => {
    const page = await open('?view=channel&name=orders')
    await page.locator('a.event-row').first().waitFor()
    await world.publish(1)
    const last = (await world.broker.describe()).channels.find(({ name }) => name === 'orders')?.next ?? 0
    await expect.poll(() => page.locator('a.event-row .event-offset').first().textContent()).toBe(String(last - 1))
    await page.getByLabel('CloudEvents SQL').fill("subject = 'o-7'")
    await page.getByRole('button', { name: 'Search' }).click()
    await page.getByText(`1 found: searched all ${last} events`).waitFor()
    expect(await page.locator('a.event-row').count()).toBe(1)
    await page.getByLabel('CloudEvents SQL').fill("subject = 'nobody'")
    await page.getByRole('button', { name: 'Search' }).click()
    await page.getByText(`None: searched all ${last} events`).waitFor()
    await page.getByLabel('CloudEvents SQL').fill('subject = = x')
    await page.getByRole('button', { name: 'Search' }).click()
    await page.getByRole('alert').getByText('INVALID_EXPRESSION').waitFor()
    expect(await page.getByText('None:').count()).toBe(0)
  })

  test('an event shows what caused it and what it caused', { timeout: 60_000 }, async () => {
    const page = await open('?view=event&name=payments&offset=3')
    await expect
      .poll(() => page.locator('.tree li').allTextContents())
      .toEqual([
        expect.stringContaining('order.placed'),
        expect.stringContaining('payment.taken'),
        // What was done from the queue is not kept.
        expect.stringContaining('mail.requested'),
      ])
    await page.locator('.tree a', { hasText: 'mail.requested' }).click()
    await page.getByText('dead after 1 attempts').waitFor()
  })

  test('channels and events can be looked at in both themes and on a phone', { timeout: 120_000 }, async () => {
    await shown('channel', '?view=channel&name=orders', (page) => page.locator('a.event-row').first().waitFor())
    await shown('event', '?view=event&name=payments&offset=3', (page) => page.locator('.tree li').nth(2).waitFor())
  })

  test('the browser has nothing to complain of', () => {
    expect(complaints).toEqual([])
  })
})
