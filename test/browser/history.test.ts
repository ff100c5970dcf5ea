/**
 * The charts of the console over a month of saved figures, in a real browser. Needs `npm run build` and a Chromium.
 * Screenshots are left in `screenshots/`.
 */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { openWorld, type World } from './console-world.ts'
import { saveHistory } from './saved-history.ts'

const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const screenshots = fileURLToPath(new URL('./screenshots/', import.meta.url))
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

describe.skipIf(!existsSync(executablePath))('charts in a browser', () => {
  const complaints: string[] = []
  const folder = mkdtempSync(join(tmpdir(), 'millrace-charts-'))
  let world: World
  let gateway: ServingGateway
  let browser: Browser

  beforeAll(async () => {
    mkdirSync(screenshots, { recursive: true })
    world = await openWorld(`file:${folder}`)
    await world.publish(5)
    await saveHistory(world.broker, Date.now())
    gateway = await serveGateway(world.broker, { port: 0, drain: '100ms', console: true })
    browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  }, 120_000)
  afterAll(async () => {
    await browser?.close()
    await gateway?.close()
    await world?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function open(query: string, { width = 1360, height = 1100, dark = false } = {}): Promise<Page> {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? 'dark' : 'light' })
    const page = await context.newPage()
    page.on('console', (message) => {
      if (['error', 'warning'].includes(message.type())) complaints.push(`${query}: ${message.text()}`)
    })
    page.on('pageerror', (error) => complaints.push(`${query}: ${error.message}`))
    await page.goto(`${gateway.url}/console/${query}`)
    await page.locator('.chart canvas').first().waitFor()
    return page
  }

  test.each([
    ['consumer-charts', '?view=consumer&name=billing&range=24h&compare=yes'],
    ['consumer-charts-month', '?view=consumer&name=billing&range=30d'],
    ['channel-charts', '?view=channel&name=orders&charts=yes&range=24h'],
  ])('%s can be looked at wide and light, narrow and dark', { timeout: 90_000 }, async (name, query) => {
    for (const [suffix, size] of [
      ['', {}],
      ['-phone-dark', { width: 390, height: 1600, dark: true }],
    ] as const) {
      const page = await open(query, size)
      await page.evaluate(axe)
      const faults = await page.evaluate<{ id: string; nodes: { html: string }[] }[]>(
        "axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }).then(({ violations }) => violations.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html }) => ({ html })) })))",
      )
      expect.soft(faults, name + suffix).toEqual([])
      expect.soft(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), name + suffix).toBe(true)
      await page.screenshot({ path: join(screenshots, `console-${name}${suffix}.png`) })
      await page.context().close()
    }
  })

  test('a drag zooms, which the URL keeps; a table has the same values', { timeout: 60_000 }, async () => {
    const page = await open('?view=consumer&name=billing&range=24h')
    const chart = page.locator('.chart', { hasText: 'Events behind' })
    const over = chart.locator('.u-over')
    const box = await over.boundingBox()
    if (box === null) throw new Error('the chart has no size')
    await page.mouse.move(box.x + box.width * 0.4, box.y + 40)
    await page.mouse.down()
    await page.mouse.move(box.x + box.width * 0.6, box.y + 40, { steps: 4 })
    await page.mouse.up()
    await page.getByRole('button', { name: 'show all' }).waitFor()
    const { searchParams } = new URL(page.url())
    const zoomedMs = Number(searchParams.get('to')) - Number(searchParams.get('from'))
    expect(zoomedMs / 3_600_000).toBeGreaterThan(4)
    expect(zoomedMs / 3_600_000).toBeLessThan(6)
    await page.reload()
    await page.getByRole('button', { name: 'show all' }).click()
    await page.getByRole('button', { name: 'Day', pressed: true }).waitFor()
    await chart.getByText('Table').click()
    await expect.poll(() => chart.locator('tbody tr').count()).toBeGreaterThan(5)
    await page.getByRole('button', { name: 'Compare with yesterday' }).click()
    await page.getByText('dashed: yesterday').waitFor()
    expect(new URL(page.url()).searchParams.get('compare')).toBe('yes')
  })

  test('the browser has nothing to complain of', () => {
    expect(complaints).toEqual([])
  })
})
