/**
 * The shop in a real browser. Needs a Chromium: Debian's, or the one that CHROMIUM names. Without one the test prints
 * that and is skipped.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failuresOf } from '../../examples/shop/mail-provider.ts'
import { buildShop, ShopProcess } from '../shop/shop-process.ts'

/** Machines that build and test are busy, so this waits for up to 15 s. */
const eventually = <T>(value: () => T): ReturnType<typeof expect.poll<T>> => expect.poll(value, { timeout: 15_000 })

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const present = existsSync(executablePath)
if (!present)
  console.warn(
    `\n!!! no Chromium at ${executablePath}: THE BROWSER TESTS DO NOT RUN. Install it (apt-get install chromium) or set CHROMIUM.\n`,
  )
const screenshots = fileURLToPath(new URL('./screenshots/', import.meta.url))

describe.skipIf(!present)('the shop in a browser', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-browser-'))
  const complaints: string[] = []
  let shop: ShopProcess
  let browser: Browser

  beforeAll(async () => {
    mkdirSync(screenshots, { recursive: true })
    await buildShop()
    shop = await ShopProcess.start(
      '--data',
      join(folder, 'data'),
      '--outbox',
      join(folder, 'outbox'),
      '--github-pace',
      '40',
    )
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  }, 120_000)
  afterAll(async () => {
    await browser?.close()
    await shop?.kill()
    rmSync(folder, { recursive: true, force: true })
  })

  async function open(path: string, width = 1360, height = 940): Promise<Page> {
    const page = await (await browser.newContext({ viewport: { width, height } })).newPage()
    page.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') complaints.push(`${path}: ${message.text()}`)
    })
    page.on('pageerror', (error) => complaints.push(`${path}: ${error.message}`))
    await page.goto(`${shop.url}${path}`)
    await page.getByText(path.startsWith('/console') ? 'live' : 'connected', { exact: true }).waitFor()
    return page
  }
  const text = async (page: Page, selector: string): Promise<string> =>
    (await page.locator(selector).textContent()) ?? ''

  test('adding, removing, ordering; the console shows it and tells the story', { timeout: 60_000 }, async () => {
    const store = await open('/')
    const add = (name: string): Promise<void> => store.getByRole('button', { name: `Add ${name} to the cart` }).click()
    for (let times = 0; times < 3; times++) await add('Stoneground wheat')
    await add('Bread knife')
    await add('Bread knife')
    await eventually(() => text(store, '[data-count]')).toBe('5 pieces')
    await store.getByRole('button', { name: 'Remove one Bread knife' }).click()
    await eventually(() => text(store, '[data-count]')).toBe('4 pieces')
    await eventually(() => text(store, '[data-sums]')).toBe('Three of a kind−€1.14DeliveryfreeTotal€49.26')
    await eventually(() => text(store, '[data-sku="wheat"] .left')).toBe('37 left')
    await store.evaluate('scrollTo(0, 0)')
    await store.waitForTimeout(500)
    await store.screenshot({ path: join(screenshots, 'shop.png') })

    await store.getByLabel('Where shall we write to?').fill('ada@example.com')
    await store.keyboard.press('Enter')
    await store.locator('.steps li[data-done]', { hasText: 'packed' }).waitFor()
    await eventually(() => text(store, '[data-empty]')).toContain('Nothing in it')

    await store.getByRole('link', { name: 'Watch them work' }).click()
    const live = store
    await live.getByText('live', { exact: true }).waitFor()
    for (const name of ['/storefront', 'carts', 'inventory', 'pricing', 'fulfilment', 'letters'])
      await live.locator('.part-name', { hasText: name }).first().waitFor()
    await live.screenshot({ path: join(screenshots, 'shop-console.png') })
    await live.goto(`${shop.url}/console/?view=channel&name=orders`)
    await live.locator('a.event-row', { hasText: 'order.placed' }).first().click()
    await eventually(async () => (await live.locator('.tree li').allTextContents()).join(' ')).toMatch(
      /cart\.checked-out.*order\.placed.*order\.packed/,
    )
  })

  test('what no retry helped is shown in the console, and is given back there', { timeout: 60_000 }, async () => {
    const live = await open('/console/?view=letters&consumer=mail', 1360, 1280)
    const id = Array.from({ length: 1000 }, (_, index) => `hopeless-${index}`).find((key) => failuresOf(key) > 10)
    const data = {
      to: 'ada@example.com',
      template: 'order-shipped',
      subject: 'Your order is on its way',
      order: 'o-x',
      cart: 'c-x',
    }
    const response = await fetch(`${shop.url}/channels/mail/events`, {
      method: 'POST',
      headers: { 'content-type': 'application/cloudevents+json' },
      body: JSON.stringify({ specversion: '1.0', source: '/test', type: 'mail.requested', id, data }),
    })
    expect(response.ok).toBe(true)
    await live.getByText('mailbox of ada@example.com is full').first().waitFor({ timeout: 30_000 })
    await live.getByRole('button', { name: 'Look at them' }).first().click()
    await live.locator('.letters a').first().click()
    await live.getByRole('button', { name: 'Redrive …' }).click()
    await live.getByLabel('Reason, for the audit trail').fill('the mailbox was emptied')
    await live.getByRole('dialog').getByRole('button', { name: 'Redrive', exact: true }).click()
    await live.getByRole('heading', { name: 'Dead letters', exact: true }).waitFor()
    // The mail provider accepts it now, and the letter is sent.
    await eventually(async () => {
      const letters = await (await fetch(`${shop.url}/channels/letters/events?limit=1000`)).text()
      return letters.includes('Your order is on its way')
    }).toBe(true)
  })

  test('a keyboard is enough, and the picture holds on a phone', { timeout: 30_000 }, async () => {
    const phone = await open('/', 390, 844)
    await phone.keyboard.press('Tab')
    expect(await phone.evaluate('document.activeElement.textContent')).toBe('Skip to the content')
    await phone.getByRole('button', { name: 'Add Dark rye to the cart' }).focus()
    await phone.keyboard.press('Enter')
    await eventually(() => text(phone, '[data-count]')).toBe('1 piece')
    await phone.getByRole('button', { name: 'Add one Dark rye' }).focus()
    await phone.keyboard.press('Enter')
    await eventually(() => text(phone, '[data-count]')).toBe('2 pieces')
    expect(await phone.evaluate("document.activeElement.getAttribute('aria-label')")).toBe('Add one Dark rye')
    expect(await phone.evaluate('document.documentElement.scrollWidth <= innerWidth')).toBe(true)
    await phone.screenshot({ path: join(screenshots, 'phone.png'), fullPage: true })
  })

  test('the activity of repositories', { timeout: 30_000 }, async () => {
    const page = await open('/github')
    await eventually(() => page.locator('.repo').count()).toBeGreaterThan(8)
    await page.locator('.repo', { hasText: 'Codertocat/Hello-World' }).first().waitFor()
    await page.screenshot({ path: join(screenshots, 'github.png') })
  })

  test('a page comes back by itself when the shop was killed', { timeout: 60_000 }, async () => {
    const store = await open('/')
    await store.getByRole('button', { name: 'Add Rolled oats to the cart' }).click()
    await eventually(() => text(store, '[data-count]')).toBe('1 piece')
    const { port } = new URL(shop.url)
    const said = complaints.length
    await shop.kill()
    await store.getByText('reconnecting …').waitFor()
    shop = await ShopProcess.start(
      '--data',
      join(folder, 'data'),
      '--outbox',
      join(folder, 'outbox'),
      '--github-pace',
      'off',
      '--port',
      port,
    )
    await store.getByText('connected', { exact: true }).waitFor()
    await store.getByRole('button', { name: 'Add Rolled oats to the cart' }).click()
    await eventually(() => text(store, '[data-count]')).toBe('2 pieces')
    // The only error that the browser may report is that the server was away.
    expect(complaints.splice(said).filter((complaint) => !complaint.includes('net::ERR_'))).toEqual([])
  })

  test('no page complained', () => {
    expect(complaints).toEqual([])
  })
})
