/**
 * Work in the console, in a real browser: dead letters that are edited, dropped and redriven while the gateway
 * restarts, publishing with a form, the command palette, a token that may only read, and hostile events.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { addToken } from '../../src/gateway/access/token-file.ts'
import { type ServingGateway, serveGateway } from '../../src/gateway/index.ts'
import { type Broker, connect, consumer, event, type Running, stream } from '../../src/index.ts'
import { ConsoleBrowser, executablePath, live, PHONE } from './console-browser.ts'

const mail = stream('mail')
const Booked = event(
  'trip.booked',
  z.object({
    traveller: z.object({ name: z.string().min(1), age: z.int().min(0).max(150) }),
    class: z.enum(['first', 'second']),
    legs: z.array(z.object({ from: z.string(), to: z.string() })).min(1),
    pay: z.union([
      z.object({ by: z.literal('card'), number: z.string() }),
      z.object({ by: z.literal('invoice'), company: z.string() }),
    ]),
    note: z.string().optional(),
  }),
)
const trips = stream('trips', { events: [Booked] })
const HOSTILE = '<img src=x onerror=alert(1)>\u202Egnp.exe'

describe.skipIf(!existsSync(executablePath))('work in the console', () => {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-console-'))
  let browser: ConsoleBrowser
  let broker: Broker
  let gateway: ServingGateway
  let running: Running
  let fails: (n: number) => Error | null = () => new TypeError('the provider is down')

  const serve = (port = 0): Promise<ServingGateway> => serveGateway(broker, { port, drain: '100ms', console: true })
  const url = (query = ''): string => `${gateway.url}/console/${query}`
  const deadLetters = async (): Promise<number> => (await broker.consumer('mailer').describe()).deadLetters

  beforeAll(async () => {
    browser = await ConsoleBrowser.start()
    broker = await connect('memory:')
    await broker.declare(mail, trips)
    running = await broker.start(
      consumer('mailer', mail, { retry: { attempts: 1 }, onDead: 'skip' }).onAny(({ data }) => {
        const error = fails((data as { n: number }).n)
        if (error !== null) throw error
      }),
    )
    gateway = await serve()
  }, 60_000)
  afterAll(async () => {
    await browser?.close()
    await gateway?.close()
    await running?.stop()
    await broker?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  async function die(count: number, more: object = {}): Promise<void> {
    const before = await deadLetters()
    const events = Array.from({ length: count }, (_, n) => ({ type: 'mail.requested', data: { n, ...more } }))
    await broker.publish(mail, events)
    await expect.poll(deadLetters, { timeout: 15_000 }).toBe(before + count)
  }

  async function dropAll(): Promise<void> {
    if ((await deadLetters()) > 0) await broker.deadLetters('mailer').drop()
  }

  test('the palette is a combobox: keys choose, the focus stays inside and comes back', {
    timeout: 60_000,
  }, async () => {
    const page = await browser.open(url())
    await live(page)
    const opener = page.getByRole('button', { name: 'Go to …' })
    await opener.focus()
    await page.keyboard.press('Enter')
    const field = page.getByRole('combobox')
    await field.waitFor()
    const active = async (): Promise<string | null> => {
      const id = await field.getAttribute('aria-activedescendant')
      return page.locator(`[id="${id}"]`).textContent()
    }
    expect(await active()).toContain('Flow')
    await page.keyboard.press('ArrowUp')
    const last = await active()
    await page.keyboard.press('ArrowDown')
    expect(await active()).not.toBe(last)
    await browser.check(page, 'palette')
    for (let times = 0; times < 4; times++) {
      await page.keyboard.press('Tab')
      expect(
        await page.evaluate(
          'document.activeElement === document.body || document.activeElement.closest("dialog") !== null',
        ),
      ).toBe(true)
    }
    await page.keyboard.press('Escape')
    await expect.poll(() => page.evaluate('document.activeElement.textContent')).toBe('Go to …')
    await page.keyboard.press('Control+k')
    await field.fill('consumer mailer')
    await expect.poll(() => page.getByRole('option').count()).toBe(1)
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'mailer' }).waitFor()
    await page.context().close()
  })

  test('an event is published with the form of its schema', { timeout: 60_000 }, async () => {
    const page = await browser.open(url('?view=publish&name=trips'))
    await page.getByText('The form is made from the schema of the type.').waitFor()
    const problems = page.getByText('The schema does not allow this data:')
    await problems.waitFor()
    await page.getByLabel('name *').fill('Ada')
    await page.getByLabel('age *').fill('36')
    await page.getByLabel('class *').selectOption('second')
    await page.getByLabel('from *').fill('Oslo')
    await page.getByLabel('to *').fill('Bergen')
    await page.getByRole('button', { name: '+ item' }).click()
    await page.getByRole('button', { name: 'Remove 2' }).click()
    await page.getByLabel('Which of them').selectOption({ label: 'by: invoice' })
    await page.getByLabel('company *').fill('Acme')
    await page.getByRole('button', { name: '+ note' }).click()
    await page.getByLabel('note', { exact: true }).fill(HOSTILE)
    await problems.waitFor({ state: 'detached' })
    await browser.check(page, 'publish-schema')
    // The JSON beside the form and the form follow each other.
    const json = page.getByLabel('Data, as JSON')
    await json.fill((await json.inputValue()).replace('"age": 36', '"age": 200'))
    await page.getByText('it must be at most 150').first().waitFor()
    expect(await page.getByLabel('age *').inputValue()).toBe('200')
    await page.getByRole('button', { name: 'Publish', exact: true }).click()
    await page.getByRole('alert').getByText('SCHEMA_MISMATCH').waitFor()
    await page.getByLabel('age *').fill('37')
    await page.getByRole('button', { name: 'Publish', exact: true }).click()
    await page.getByRole('link', { name: /^at offset/ }).waitFor()
    const stored: unknown[] = []
    for await (const { data } of broker.read('trips', { from: 'beginning' })) stored.push(data)
    expect(stored).toEqual([
      {
        traveller: { name: 'Ada', age: 37 },
        class: 'second',
        legs: [{ from: 'Oslo', to: 'Bergen' }],
        pay: { by: 'invoice', company: 'Acme' },
        note: HOSTILE,
      },
    ])
    const phone = await browser.open(url('?view=publish&name=trips'), PHONE)
    await phone.getByLabel('Data, as JSON').waitFor()
    await browser.check(phone, 'publish-schema-phone-dark')
    await phone.context().close()
    await page.context().close()
  })

  test('a dead letter is corrected: a new event with its cause and the difference takes its place', {
    timeout: 60_000,
  }, async () => {
    fails = (n) => (n === 1 ? new RangeError('1 is too small') : null)
    await broker.publish(mail, { type: 'mail.requested', id: 'bad-one', data: { n: 1, to: 'ada@example.com' } })
    await expect.poll(deadLetters).toBe(1)
    const page = await browser.open(url('?view=letters&consumer=mailer'))
    await page.getByRole('button', { name: 'Look at them' }).click()
    await page.locator('.letters a').first().click()
    await page.getByRole('button', { name: 'Edit …' }).click()
    const dialog = page.getByRole('dialog')
    const data = dialog.getByRole('textbox', { name: 'Data', exact: true })
    await data.fill('{"n": 2,')
    await dialog.getByText('This is not JSON.').waitFor()
    await data.fill('{"n": 2, "to": "ada@example.com"}')
    await expect.poll(() => dialog.getByRole('list', { name: 'Changes' }).textContent()).toBe('/n: 1 2')
    await dialog.getByLabel('Reason, for the audit trail').fill('the smallest is 2')
    await browser.check(page, 'letter-edit')
    await dialog.getByRole('button', { name: 'Publish and drop the letter' }).click()
    await page.getByRole('heading', { name: 'Dead letters', exact: true }).waitFor()
    await expect.poll(deadLetters).toBe(0)
    const events: Record<string, unknown>[] = []
    for await (const one of broker.read('mail', { from: 'beginning' }))
      if (one.id.startsWith('bad-one')) events.push(one as unknown as Record<string, unknown>)
    expect(events).toHaveLength(2)
    expect(events[1]).toMatchObject({
      data: { n: 2, to: 'ada@example.com' },
      causationid: 'bad-one',
      editdifference: '[["/n","1","2"]]',
      editreason: 'the smallest is 2',
    })
    await page.context().close()
  })

  test('many are dropped by their failure, and the others stay', { timeout: 60_000 }, async () => {
    fails = (n) => (n % 2 === 0 ? new TypeError('even') : new RangeError('odd'))
    await die(30)
    const page = await browser.open(url('?view=letters&consumer=mailer'))
    const even = page.locator('.group', { hasText: 'TypeError' })
    await even.getByText('15', { exact: true }).waitFor()
    await even.getByRole('button', { name: 'Drop …' }).click()
    await page.getByLabel('Reason, for the audit trail').fill('they are of no use')
    await page.getByRole('dialog').getByRole('button', { name: 'Drop', exact: true }).click()
    await page.getByText('Drop ended').waitFor()
    await page.getByText('15 dropped, 0 left').waitFor()
    await expect.poll(deadLetters).toBe(15)
    await even.waitFor({ state: 'detached' })
    await page.context().close()
    await dropAll()
  })

  test('a redrive goes on while the gateway restarts, and the page comes back by itself', {
    timeout: 90_000,
  }, async () => {
    fails = () => new TypeError('the provider is down')
    await die(40)
    fails = () => null
    const page = await browser.open(url('?view=letters&consumer=mailer'))
    await page.getByRole('button', { name: 'Redrive …' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('spinbutton').fill('4')
    await dialog.getByLabel('Reason, for the audit trail').fill('the provider is back')
    await dialog.getByRole('button', { name: 'Redrive', exact: true }).click()
    await page.getByText('Redriving 4 a second').waitFor()
    await browser.check(page, 'redriving')
    const { port } = new URL(gateway.url)
    // The only errors that the browser may report are that the gateway was away.
    browser.ignored = /net::ERR_|status of 4(?:00|16|22) /
    await gateway.close()
    await page.getByText('reconnecting', { exact: true }).waitFor()
    await page.getByRole('alert').getByText('UNREACHABLE').first().waitFor()
    await page.screenshot({ path: join(import.meta.dirname, 'screenshots/console-away.png') })
    expect(await deadLetters()).toBeGreaterThan(0)
    gateway = await serve(Number(port))
    await live(page)
    await page.getByText('Redrive ended').waitFor({ timeout: 30_000 })
    expect(await page.locator('.redrive').first().textContent()).toContain('40 done, 0 back, 0 left')
    await page.getByText('interrupted once, and continued').waitFor()
    expect(await page.getByRole('alert').count()).toBe(0)
    expect(await deadLetters()).toBe(0)
    await page.context().close()
  })

  test('a consumer is rewound, after a look at what that would do', { timeout: 60_000 }, async () => {
    fails = () => null
    const handled: number[] = []
    const other = await broker.start(
      consumer('archive', mail).onAny(({ data }) => {
        handled.push((data as { n: number }).n)
      }),
    )
    const { next } = await broker.channel('mail').describe()
    await expect.poll(() => handled.length).toBe(next)
    const page = await browser.open(url('?view=consumer&name=archive'))
    await page.getByRole('button', { name: 'Rewind', exact: true }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByLabel('To', { exact: true }).fill(String(next - 3))
    await dialog.getByText(/: 3 events again, of 0 keys/).waitFor()
    await dialog.getByLabel('Reason, for the audit trail').fill('the archive lost them')
    await browser.check(page, 'rewind')
    await dialog.getByRole('button', { name: 'Rewind', exact: true }).click()
    await expect.poll(() => handled.length).toBe(next + 3)
    await dialog.waitFor({ state: 'detached' })
    await page.context().close()
    await other.stop()
  })

  test('a flow of 300 parts can be read', { timeout: 90_000 }, async () => {
    const many = await connect('memory:')
    const consumers: Running[] = []
    for (let n = 0; n < 150; n++) {
      const name = `${['shop', 'bank', 'mill'][n % 3]}.channel-${n}`
      await many.declare(stream(name))
      consumers.push(await many.start(consumer(`${name}-worker`, name).onAny(() => undefined)))
    }
    const large = await serveGateway(many, { port: 0, drain: '100ms', console: true })
    const page = await browser.open(`${large.url}/console/`)
    await page.getByText('300 parts').waitFor()
    await page.locator('.part').first().waitFor()
    await browser.check(page, 'flow-300')
    await page.keyboard.press('g')
    await expect.poll(() => page.locator('.part').count()).toBeLessThan(20)
    await browser.check(page, 'flow-300-grouped')
    await page.keyboard.press('Escape')
    await page.getByPlaceholder('Find ( / )').fill('channel-77')
    await expect.poll(() => page.locator('.part').count()).toBeLessThan(10)
    await page.keyboard.press('Control+k')
    await page.getByRole('combobox').fill('consumer channel-99')
    await page.keyboard.press('Enter')
    await page.getByRole('heading', { name: 'shop.channel-99-worker' }).waitFor()
    await page.context().close()
    await large.close()
    await Promise.all(consumers.map((one) => one.stop()))
    await many.close()
  })

  test('hostile events and errors are shown as text, and nothing breaks', { timeout: 60_000 }, async () => {
    fails = () =>
      Object.assign(new Error(`${HOSTILE} ${'x'.repeat(50_000)}`), {
        name: `<b>${HOSTILE}</b>`,
        stack: `Error\n${'    at f (('.repeat(5000)}${' '.repeat(50_000)}`,
      })
    let deep: unknown = HOSTILE
    for (let depth = 0; depth < 60; depth++) deep = { [depth % 2 === 0 ? HOSTILE : 'list']: [deep] }
    await die(2, { deep, long: 'y'.repeat(200_000), [HOSTILE]: HOSTILE, ...{ __proto__: null, constructor: 'c' } })
    const page = await browser.open(url('?view=letters&consumer=mailer'))
    await page.locator('.group').waitFor()
    await page.getByRole('button', { name: 'Look at them' }).click()
    await browser.check(page, 'letters-hostile')
    await page.locator('.letters a').first().click()
    await page.getByText('⟨U+202E⟩').first().waitFor()
    await browser.check(page, 'letter-hostile')
    await page.getByRole('link', { name: 'The event' }).click()
    await page.locator('.json').first().waitFor()
    expect(await page.locator('main img, main b').count()).toBe(0)
    await page.context().close()
    await dropAll()
  })

  test('with a token that may only read, actions are disabled, and the gateway refuses them', {
    timeout: 60_000,
  }, async () => {
    fails = () => new TypeError('the provider is down')
    await die(3)
    const tokens = join(folder, 'tokens.json')
    const { token } = addToken(tokens, { name: 'reader', permissions: { read: ['>'] } })
    const guarded = await serveGateway(broker, { port: 0, drain: '100ms', console: true, access: { tokens } })
    browser.ignored = /net::ERR_|status of 4(?:00|01|03|16|22) /
    const page = await browser.open(`${guarded.url}/console/?view=letters&consumer=mailer`)
    await page.getByLabel('Token').fill('nonsense')
    await page.getByRole('button', { name: 'Use it' }).click()
    await page.getByRole('alert').getByText('UNAUTHENTICATED').waitFor()
    await page.getByLabel('Token').fill(token)
    await page.getByRole('button', { name: 'Use it' }).click()
    await live(page)
    const disabled = async (name: string): Promise<void> =>
      expect.poll(() => page.getByRole('button', { name, exact: true }).first().isDisabled()).toBe(true)
    await page.locator('.group').waitFor()
    await disabled('Redrive …')
    await disabled('Drop …')
    await browser.check(page, 'read-only')
    await page.getByRole('button', { name: 'Look at them' }).click()
    await page.locator('.letters a').first().click()
    for (const name of ['Edit …', 'Drop …', 'Redrive …']) await disabled(name)
    await page.getByRole('navigation').getByRole('link', { name: 'Publish' }).click()
    await page.getByLabel('Channel').selectOption('mail')
    await page.getByLabel('Data, as JSON').waitFor()
    await disabled('Publish')
    await page.getByRole('navigation').getByRole('link', { name: 'Consumers' }).click()
    await page.getByRole('link', { name: 'mailer' }).first().click()
    for (const name of ['Pause', 'Rewind']) await disabled(name)
    // The page is not what protects: the gateway refuses what a changed page would send.
    const refused = await page.evaluate<number>(
      `fetch('/api/consumers/mailer/redrives', { method: 'POST', body: '{}', headers: {
        'content-type': 'application/json', authorization: 'Bearer ${token}' } }).then((answer) => answer.status)`,
    )
    expect(refused).toBe(403)
    expect(await deadLetters()).toBe(3)
    await page.context().close()
    await guarded.close()
    await dropAll()
  })

  test('the browser has nothing to complain of', () => {
    expect(browser.complaints).toEqual([])
  })
})
