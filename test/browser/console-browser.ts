/** One Chromium for a test file, and pages of the console in it. What a page complains of is collected. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'
import { expect } from 'vitest'

export const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium'
const built = fileURLToPath(new URL('../../dist/console/index.html', import.meta.url))
const screenshots = fileURLToPath(new URL('./screenshots/', import.meta.url))
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

interface Violation {
  readonly id: string
  readonly nodes: readonly { readonly html: string; readonly failureSummary: string }[]
}

export interface Look {
  readonly width?: number
  readonly height?: number
  readonly dark?: boolean
}

export const PHONE: Look = { width: 390, height: 844, dark: true }

export class ConsoleBrowser {
  readonly complaints: string[] = []
  readonly #browser: Browser
  /** Complaints that a test causes in vain. */
  ignored: RegExp = /status of 4(?:00|16|22) /

  private constructor(browser: Browser) {
    this.#browser = browser
  }

  static async start(): Promise<ConsoleBrowser> {
    if (!existsSync(built)) expect.fail('there is no dist/console: run `npm run build` first')
    mkdirSync(screenshots, { recursive: true })
    return new ConsoleBrowser(await chromium.launch({ executablePath, args: ['--no-sandbox'] }))
  }

  /** A page of the console, in a context of its own. */
  async open(url: string, { width = 1360, height = 880, dark = false }: Look = {}): Promise<Page> {
    const context = await this.#browser.newContext({
      viewport: { width, height },
      colorScheme: dark ? 'dark' : 'light',
    })
    const page = await context.newPage()
    page.on('console', (message) => {
      if (this.ignored.test(message.text())) return
      if (message.type() === 'error' || message.type() === 'warning') this.complaints.push(`${url}: ${message.text()}`)
    })
    page.on('pageerror', (error) => this.complaints.push(`${url}: ${error.message}`))
    await page.goto(url)
    return page
  }

  /** What WCAG 2.2 AA asks and a program can check. The page allows no inline script, so axe comes by the debugger. */
  async faultsOf(page: Page): Promise<string[]> {
    await page.evaluate(axe)
    const { violations } = await page.evaluate<{ readonly violations: readonly Violation[] }>(
      `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] })`,
    )
    return violations.flatMap(({ id, nodes }) =>
      nodes.map(({ html, failureSummary }) => `${id}: ${html.slice(0, 200)} ${failureSummary}`),
    )
  }

  /** No fault that axe finds, nothing that scrolls sideways, and a picture for people. */
  async check(page: Page, name: string): Promise<void> {
    expect.soft(await this.faultsOf(page), name).toEqual([])
    // The view scrolls in the page: neither may scroll sideways.
    const wide = `[document.documentElement, document.querySelector('main')].map((each) => each.scrollWidth - each.clientWidth)`
    expect.soft(await page.evaluate(wide), name).toEqual([0, 0])
    await page.screenshot({ path: join(screenshots, `console-${name}.png`) })
  }

  async close(): Promise<void> {
    await this.#browser.close()
  }
}

export const live = (page: Page): Promise<void> => page.getByText('live', { exact: true }).waitFor()
