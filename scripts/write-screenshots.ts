/**
 * Write the pictures of the console in docs/images: `npm run docs:screenshots`, after `npm run build`. They show the
 * company of the browser tests (test/browser/console-world.ts) under a light load, in both themes.
 */
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { serveGateway } from '../src/gateway/index.ts'
import { openWorld } from '../test/browser/console-world.ts'

const IMAGES = fileURLToPath(new URL('../docs/images/', import.meta.url))
const LOAD_MS = 200

const world = await openWorld()
world.mailFails = false
const served = await serveGateway(world.broker, { port: 0, console: true })
const load = setInterval(() => void world.publish(3), LOAD_MS)
const browser = await chromium.launch({
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
})
try {
  for (const theme of ['light', 'dark'] as const) {
    const page = await browser.newPage({ viewport: { width: 1280, height: 440 }, colorScheme: theme })
    await page.goto(`${served.url}/console/`)
    await page.getByText('courier').first().waitFor()
    // Rates are averages of some seconds.
    await page.waitForTimeout(12_000)
    await page.getByRole('button', { name: /fit view/i }).click()
    await page.waitForTimeout(1_000)
    await page.screenshot({ path: `${IMAGES}console-${theme}.png` })
  }
} finally {
  clearInterval(load)
  await browser.close()
  await served.close()
  await world.close()
}
