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
import { z } from 'zod'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { event, stream } from '../../src/index.ts'
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
      if (/status of 4(?:00|16) /.test(message.text())) return
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

  /** Wide and light, and narrow and dark: no fault that axe finds, nothing that scrolls sideways, and a picture. */
  async function shown(name: string, query: string, ready: (page: Page) => Promise<unknown>): Promise<void> {
    for (const [suffix, size] of [
      ['', {}],
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

  test('the flow can be looked at wide and light, narrow and dark', { timeout: 90_000 }, async () => {
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
    await page.getByText('gave up on the event after 1 attempt').waitFor()
  })

  test('channels and events can be looked at wide and light, narrow and dark', { timeout: 120_000 }, async () => {
    await shown('channel', '?view=channel&name=orders', (page) => page.locator('a.event-row').first().waitFor())
    await shown('event', '?view=event&name=payments&offset=3', (page) => page.locator('.tree li').nth(2).waitFor())
  })

  test('dead letters are redriven carefully: it stops when the error comes back', { timeout: 60_000 }, async () => {
    const page = await open('?view=letters')
    await page.getByRole('heading', { name: 'TypeError' }).waitFor()
    const redrive = async (): Promise<void> => {
      await page.getByRole('button', { name: 'Redrive …' }).click()
      const dialog = page.getByRole('dialog')
      expect(await dialog.getByRole('button', { name: 'Redrive', exact: true }).isDisabled()).toBe(true)
      // What is copied does what the button does: no command redrives one group.
      const copies = await dialog.getByRole('button', { name: /^Copy/ }).all()
      expect(await Promise.all(copies.map((each) => each.getAttribute('title')))).toEqual([
        expect.stringMatching(/^curl -X POST .*"fingerprint":"\w+".*\/redrives$/),
      ])
      await dialog.getByLabel('Reason, for the audit trail').fill('the provider is back')
      await dialog.getByRole('button', { name: 'Redrive', exact: true }).click()
    }
    await redrive()
    await page.getByText('Stopped: the error came back').waitFor()
    await page.getByText(/^0 done, 1 back/).waitFor()
    world.mailFails = false
    await redrive()
    await page.getByText('Redrive ended').waitFor()
    await page.reload()
    await page.getByText(/done, 0 back, 0 left/).waitFor()
    await expect
      .poll(async () => (await world.broker.describe()).consumers.find(({ name }) => name === 'mailer')?.deadLetters)
      .toBe(0)
    world.mailFails = true
    await world.publish(3)
  })

  test('a consumer is paused and rewound, after a look at what that would do', { timeout: 60_000 }, async () => {
    const page = await open('?view=consumer&name=billing')
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByLabel('Reason, for the audit trail').fill('the bank is down')
    await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click()
    await page.getByText(/in every process, until it is resumed: the bank is down/).waitFor()
    await page.getByRole('button', { name: 'Rewind' }).click()
    await page.getByLabel('To', { exact: true }).fill('0')
    await page.getByText(/\d+ events again, of \d+ keys/).waitFor()
    await page.getByLabel('To', { exact: true }).fill('nonsense')
    await page.getByRole('dialog').getByRole('alert').waitFor()
    await page.keyboard.press('Escape')
    await page.getByRole('button', { name: 'Resume' }).click()
    await page.getByLabel('Reason, for the audit trail').fill('it is back')
    await page.getByRole('dialog').getByRole('button', { name: 'Resume' }).click()
    await page.getByRole('button', { name: 'Pause' }).waitFor()
  })

  test('a consumer says why it does not move', { timeout: 60_000 }, async () => {
    const page = await open('?view=consumer&name=courier')
    await page.getByRole('button', { name: 'Why does it not move?' }).click()
    await page.getByRole('region', { name: 'Why?' }).locator('li').first().waitFor()
    expect(await faultsOf(page)).toEqual([])
  })

  test('a rule is judged while it is typed, tried on what is stored, and saved', { timeout: 60_000 }, async () => {
    const page = await open('?view=rule')
    await page.getByLabel('Name').fill('small-orders')
    const text = page.getByLabel('Rule, as JSON: on, when, then')
    await text.fill('{"on":"orders","when":"data.total <","then":{"forward":"alerts"}}')
    await page.getByRole('alert').getByText('INVALID_RULE').waitFor()
    await text.fill('{"on":"orders","when":{"data":{"number":[1]}},"then":{"forward":"alerts"}}')
    await page.getByText('The rule is valid.').waitFor()
    await page.getByRole('button', { name: 'Try', exact: true }).click()
    await page.locator('.json').first().waitFor()
    await page.getByRole('button', { name: 'Save …' }).click()
    await page.getByLabel('Reason, for the audit trail').fill('to see small ones')
    await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
    await page.getByRole('heading', { name: 'small-orders' }).waitFor()
    await page.getByText('to see small ones').waitFor()
  })

  test('a rule says why it acted or did not act on an event, and leads to the dead letters of its actions', {
    timeout: 60_000,
  }, async () => {
    const page = await open('?view=rule&name=large-orders')
    const card = page.getByRole('region', { name: 'Why did it not act on an event?' })
    await expect.poll(() => card.getByRole('button', { name: 'Why?' }).isDisabled()).toBe(true)
    await card.getByLabel('Offset').fill('0')
    await card.getByRole('button', { name: 'Why?' }).click()
    await card.getByText(/^At this event, revision \d+ of the rule was in force/).waitFor()
    expect(await card.locator('.reasons li').count()).toBeGreaterThan(0)
    expect(page.url()).toContain('offset=0')
    await card.getByLabel('Offset').fill('1')
    await expect.poll(() => card.locator('.reasons').count()).toBe(0)
    await page.getByRole('link', { name: 'Dead letters', exact: true }).last().click()
    expect(page.url()).toMatch(/view=letters&consumer=rule\.large-orders\./)
    await page.context().close()
  })

  test('an event is published by hand', { timeout: 60_000 }, async () => {
    const page = await open('?view=publish&name=alerts')
    await page.getByLabel('Type').fill('alert.raised')
    await page.getByLabel('Data, as JSON').fill('{"note":"<img src=x onerror=alert(1)>\u202Eevil"}')
    await page.getByRole('button', { name: 'Publish', exact: true }).click()
    await page.getByRole('link', { name: /^at offset/ }).click()
    await page.getByText('⟨U+202E⟩evil').waitFor()
    expect(await page.locator('main img').count()).toBe(0)
  })

  test('the other views can be looked at wide and light, narrow and dark', { timeout: 240_000 }, async () => {
    const there = (text: string) => (page: Page) => page.getByText(text).first().waitFor()
    await shown('letters', '?view=letters', there('the provider is down'))
    await shown('consumers', '?view=consumers', there('courier'))
    await shown('consumer', '?view=consumer&name=billing', there('Events behind'))
    await shown('rules', '?view=rules', there('large-orders'))
    await shown('rule', '?view=rule&name=large-orders', there('The rule is valid.'))
    await shown('publish', '?view=publish&name=orders', there('Data, as JSON'))
  })

  test('the catalogue lists event types, and shows one with its schema, its users and a masked example', {
    timeout: 120_000,
  }, async () => {
    const schema = z.object({ order: z.string(), card: z.string().meta({ 'x-sensitive': true }) })
    const Refunded = event('order.refunded', schema)
    await world.broker.declare(stream('refunds', { events: [Refunded] }))
    await world.broker.publish('refunds', Refunded({ order: '7', card: '4111-1111' }, { source: '/bank' }))
    const page = await open('?view=channel&name=refunds')
    await page.getByRole('link', { name: 'Event types' }).click()
    await page.getByRole('searchbox').waitFor()
    expect(page.url()).toContain('view=catalogue&find=refunds')
    await page.getByRole('link', { name: 'order.refunded' }).click()
    await page.getByRole('heading', { name: 'Schema' }).waitFor()
    await page.getByRole('link', { name: '/bank' }).waitFor()
    await page.getByText('[masked]').waitFor()
    expect(await page.content()).not.toContain('4111-1111')
    await page.getByRole('link', { name: /refunds, offset \d+/ }).click()
    await page.getByRole('heading', { name: 'order.refunded' }).waitFor()
    await page.context().close()
    await shown('catalogue', '?view=catalogue', (one) => one.getByText('payment.taken').first().waitFor())
    await shown('type', '?view=type&name=order.refunded', (one) => one.getByText('[masked]').first().waitFor())
  })

  test('the browser has nothing to complain of', () => {
    expect(complaints).toEqual([])
  })
})
