/** The page of a consumer: its retries by key, its way since a rewind, who paused it; and why publishing is slow. */
import { existsSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, type Running, stream } from '../../src/index.ts'
import { ConsoleBrowser, executablePath, PHONE } from './console-browser.ts'

const orders = stream('orders', { key: 'subject' })

describe.skipIf(!existsSync(executablePath))('the page of a consumer', () => {
  let browser: ConsoleBrowser
  let broker: Broker
  let served: ServingGateway
  let running: Running

  beforeAll(async () => {
    broker = await connect('memory:')
    running = await broker.start(
      consumer('billing', orders, { retry: { backoff: 'fixed', min: '1h' } }).onAny(({ subject }) => {
        if (subject === 'o-1' || subject === 'o-2' || subject === 'o-3') throw new Error('the bank is down')
      }),
    )
    const subjects = Array.from({ length: 40 }, (_, n) => `o-${n % 8}`)
    await broker.publish(
      orders,
      subjects.map((subject) => ({ type: 'order.placed', subject, data: { total: 7 } })),
    )
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await broker.publish(orders, { type: 'order.placed', subject: 'o-9', traceparent })
    while ((await broker.consumer('billing').describe()).retrying < 3)
      await new Promise((later) => setTimeout(later, 20))
    served = await serveGateway(broker, { port: 0, console: { traceUrl: 'https://traces.example/{traceId}' } })
    browser = await ConsoleBrowser.start()
  })
  afterAll(async () => {
    await browser.close()
    await served.close()
    await running.stop()
    await broker.close()
  })

  test('a consumer shows its retries, its progress and its pause', async () => {
    const page = await browser.open(`${served.url}/console/?view=consumer&name=billing`)
    const retries = page.getByRole('region', { name: 'Retries' })
    await retries.getByText('the bank is down').first().waitFor()
    expect(await retries.getByRole('row').count()).toBe(4)
    const positions = page.getByRole('region', { name: 'Positions' })
    expect(await positions.textContent()).toMatch(/\d+ % of/)
    await page.getByRole('button', { name: 'Pause' }).click()
    await page.getByLabel('Reason').fill('the bank asks for a break')
    await page.getByRole('dialog').getByRole('button', { name: 'Pause' }).click()
    await page.getByText('the bank asks for a break').first().waitFor()
    await page.getByRole('button', { name: 'Why does it not move?' }).click()
    await page
      .getByText('[paused]')
      .or(page.locator('code', { hasText: 'paused' }))
      .first()
      .waitFor()
    await retries.scrollIntoViewIfNeeded()
    await browser.check(page, 'consumer-retries-light')
    const small = await browser.open(page.url(), PHONE)
    await small.getByRole('region', { name: 'Retries' }).getByText('the bank is down').first().waitFor()
    await small.getByRole('region', { name: 'Retries' }).scrollIntoViewIfNeeded()
    await browser.check(small, 'consumer-retries-phone')
    expect(browser.complaints).toEqual([])
  })

  test('an event leads to its trace, where the gateway knows the place', async () => {
    const page = await browser.open(`${served.url}/console/?view=event&name=orders&offset=40`)
    const link = page.getByRole('link', { name: 'Trace', exact: true })
    await link.waitFor()
    expect(await link.getAttribute('href')).toBe('https://traces.example/0af7651916cd43dd8448eb211c80319c')
    const other = await browser.open(`${served.url}/console/?view=event&name=orders&offset=0`)
    await other.getByRole('heading', { name: 'Envelope' }).waitFor()
    expect(await other.getByRole('link', { name: 'Trace', exact: true }).count()).toBe(0)
  })

  test('a channel says why publishing is slow, or that it is not', async () => {
    const page: Page = await browser.open(`${served.url}/console/?view=channel&name=orders`, { dark: true })
    await page.getByRole('button', { name: 'Slow?' }).click()
    await page.getByRole('button', { name: 'Why is publishing slow?' }).click()
    await page.locator('code', { hasText: 'not-slow' }).waitFor()
    await browser.check(page, 'channel-slow-dark')
    expect(browser.complaints).toEqual([])
  })
})
