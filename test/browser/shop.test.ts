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
    await page.getByText('connected', { exact: true }).waitFor()
    return page
  }
  const text = async (page: Page, selector: string): Promise<string> =>
    (await page.locator(selector).textContent()) ?? ''

  test('adding, removing, ordering; the live page shows it and tells the story', { timeout: 60_000 }, async () => {
    const [store, live] = [await open('/'), await open('/live', 1360, 1280)]
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

    await live.getByRole('button', { name: 'Shop', exact: true }).click()
    await live.locator('.feed button', { hasText: 'order.placed' }).click()
    await eventually(() => text(live, '[data-story]')).toMatch(/cart\.checked-out.*order\.placed.*order\.packed/)
    await eventually(() => text(live, '[data-json]')).toContain('"type": "order.placed"')
    await eventually(async () =>
      Number((await text(live, '[data-number="stored"]')).replace(/\D/g, '')),
    ).toBeGreaterThan(20)
    expect(await live.locator('.flow .node').count()).toBe(16)
    await live.evaluate('scrollTo(0, 0)')
    await live.waitForTimeout(500)
    await live.screenshot({ path: join(screenshots, 'live.png') })
  })

  test('what no retry helped is shown, and a click gives it back', { timeout: 60_000 }, async () => {
    const live = await open('/live', 1360, 1280)
    // Webhooks arrive so fast that they push everything else out of the list.
    await live.getByRole('button', { name: 'Shop', exact: true }).click()
    const id = Array.from({ length: 1000 }, (_, index) => `hopeless-${index}`).find((key) => failuresOf(key) > 10)
    const data = {
      to: 'ada@example.com',
      template: 'order-shipped',
      subject: 'Your order is on its way',
      order: 'o-x',
      cart: 'c-x',
    }
    const request = async (event: { readonly id: string | undefined; readonly data: typeof data }): Promise<void> => {
      const response = await fetch(`${shop.url}/channels/mail/events`, {
        method: 'POST',
        headers: { 'content-type': 'application/cloudevents+json' },
        body: JSON.stringify({ specversion: '1.0', source: '/test', type: 'mail.requested', ...event }),
      })
      expect(response.ok).toBe(true)
    }
    await request({ id, data })
    // The page refreshes at intervals. It may miss the short pauses between the attempts of the hopeless event, but not
    // the minute that this event waits.
    await request({ id: 'waits', data: { ...data, to: 'ada@greylisted.example', subject: 'Your order has a delay' } })
    await live.locator('.badge.retrying').waitFor()
    await live.locator('.badge.dead').waitFor({ timeout: 30_000 })
    const hopeless = live.locator('[data-dead] li', { hasText: 'Your order is on its way' })
    await eventually(() => text(live, '[data-dead]')).toContain(
      '550 mailbox of ada@example.com is full — after 4 attempts',
    )
    await live.screenshot({ path: join(screenshots, 'dead-letter.png') })
    await hopeless.getByRole('button', { name: 'Redrive' }).click()
    await live
      .locator('.feed button', { hasText: 'mail.sent' })
      .filter({ hasText: 'Your order is on its way' })
      .waitFor()
    // Mail from the other test may be hopeless too, because its id is random. It then stays.
    await eventually(() => hopeless.count()).toBe(0)
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
