/**
 * The shop's main task, in a process that is killed while visitors click, compared with a ledger outside the process.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { BrokerDescription, DeadLetter } from '../../src/broker/description.ts'
import { buildShop, ShopProcess } from './shop-process.ts'

const folder = mkdtempSync(join(tmpdir(), 'millrace-shop-'))
const PRICES: Readonly<Record<string, number>> = { wheat: 380, rye: 420, spelt: 560, loaf: 650 }
const STOCK: Readonly<Record<string, number>> = { wheat: 40, rye: 30, spelt: 24, loaf: 16 }
const args = ['--data', join(folder, 'data'), '--outbox', join(folder, 'outbox')]
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

interface Stored {
  readonly id: string
  readonly type: string
  readonly causationid?: string
  readonly data: Record<string, unknown>
}

/** One visitor, which clicks and records what it did. */
class Visitor {
  readonly cart: string
  readonly sent: string[] = []
  readonly basket = new Map<string, number>()
  readonly acknowledged = new Set<string>()
  retries = 0

  constructor(cart: string) {
    this.cart = cart
  }

  /** Publish as the page does: repeat with the same id until there is an answer. */
  async click(shop: () => ShopProcess, type: string, data: Record<string, unknown>): Promise<void> {
    const id = `${this.cart}-${this.sent.length}`
    this.sent.push(id)
    const body = JSON.stringify({
      specversion: '1.0',
      id,
      source: '/visitor',
      type,
      data: { cart: this.cart, ...data },
    })
    for (;;) {
      try {
        const answer = await fetch(`${shop().url}/channels/carts/events`, {
          method: 'POST',
          headers: { 'content-type': 'application/cloudevents+json' },
          body,
        })
        if (answer.status === 202) break
        throw new Error(String(answer.status))
      } catch {
        this.retries++
        await wait(60)
      }
    }
    this.acknowledged.add(id)
  }

  async shopFor(shop: () => ShopProcess, clicks: number): Promise<void> {
    const skus = Object.keys(PRICES)
    for (let n = 0; n < clicks; n++) {
      const sku = skus[(n * 7 + this.cart.length) % skus.length] as string
      const has = this.basket.get(sku) ?? 0
      if (has > 1) {
        await this.click(shop, 'cart.item.removed', { sku, quantity: 1 })
        this.basket.set(sku, has - 1)
      } else {
        await this.click(shop, 'cart.item.added', { sku, quantity: 1 })
        this.basket.set(sku, has + 1)
      }
      await wait(4)
    }
  }

  get sumCents(): number {
    return [...this.basket].reduce((sum, [sku, quantity]) => sum + quantity * (PRICES[sku] as number), 0)
  }
}

async function all(shop: ShopProcess, channel: string): Promise<Stored[]> {
  const events: Stored[] = []
  for (let next: number | null = 0; next !== null; ) {
    const page: { events: { event: Stored }[]; next: number | null } = await shop.get(
      `/channels/${channel}/events?from=${next}&limit=500`,
      {
        accept: 'application/json',
      },
    )
    events.push(...page.events.map(({ event }) => event))
    next = page.next
  }
  return events
}

/** Wait until no consumer has anything to do. */
async function settle(shop: ShopProcess): Promise<BrokerDescription> {
  for (let tries = 0; tries < 600; tries++) {
    const description = await shop.get<BrokerDescription>('/api/describe')
    const idle = description.consumers.every(
      ({ channels, retrying, inFlight }) => retrying + inFlight + channels.reduce((sum, { lag }) => sum + lag, 0) === 0,
    )
    if (idle && description.channels.every(({ scheduled }) => scheduled === 0)) return description
    await wait(100)
  }
  throw new Error('the shop does not come to rest')
}

describe('the main job', () => {
  const visitors = Array.from({ length: 4 }, (_, index) => new Visitor(`cart-${index}`))
  let shop: ShopProcess
  beforeAll(async () => {
    await buildShop()
  }, 120_000)
  afterAll(async () => {
    await shop?.kill()
    rmSync(folder, { recursive: true, force: true })
  })

  test('visitors click, and it is killed again and again', { timeout: 120_000 }, async () => {
    shop = await ShopProcess.start(...args, '--github-pace', '5')
    let shopping = true
    const clicking = Promise.all(visitors.map((visitor) => visitor.shopFor(() => shop, 60))).then(() => {
      shopping = false
    })
    for (let kills = 0; kills < 3 && shopping; kills++) {
      await wait(250)
      await shop.kill()
      shop = await ShopProcess.start(...args, '--github-pace', '5')
    }
    await clicking
    await Promise.all(
      visitors.map((visitor) =>
        visitor.click(() => shop, 'cart.checked-out', { email: `${visitor.cart}@example.com` }),
      ),
    )
    // Once more, during packing.
    await wait(300)
    await shop.kill()
    shop = await ShopProcess.start(...args, '--github-pace', '5')
    await settle(shop)
    expect(visitors.reduce((sum, visitor) => sum + visitor.retries, 0)).toBeGreaterThan(0)
  })

  test('every acknowledged click is there once, in its order', { timeout: 30_000 }, async () => {
    const stored = await all(shop, 'carts')
    for (const visitor of visitors) {
      expect(stored.filter((event) => event.data['cart'] === visitor.cart).map((event) => event.id)).toEqual(
        visitor.sent,
      )
      expect(visitor.acknowledged.size).toBe(visitor.sent.length)
    }
  })

  test('the shelves hold what was not taken: no click counted twice, none missed', { timeout: 30_000 }, async () => {
    const left = new Map((await all(shop, 'stock')).map((event) => [event.data['sku'], event.data['left']]))
    for (const [sku, initial] of Object.entries(STOCK)) {
      const taken = visitors.reduce((sum, { basket }) => sum + (basket.get(sku) ?? 0), 0)
      expect([sku, left.get(sku)]).toEqual([sku, initial - taken])
    }
  })

  test('each checkout is one order, of what the cart held, packed and shipped once', { timeout: 30_000 }, async () => {
    const orders = await all(shop, 'orders')
    for (const visitor of visitors) {
      const own = orders.filter((event) => event.data['cart'] === visitor.cart)
      expect(own.map((event) => event.type)).toEqual(['order.placed', 'order.packed', 'order.shipped'])
      const lines = own[0]?.data['lines'] as { sku: string; quantity: number }[]
      expect(new Map(lines.map(({ sku, quantity }) => [sku, quantity]))).toEqual(
        new Map([...visitor.basket].filter(([, quantity]) => quantity > 0)),
      )
      expect(own[0]?.data['totalCents']).toBe(visitor.sumCents + (visitor.sumCents >= 4000 ? 0 : 490))
    }
  })

  test('each letter was sent once, or lies among the dead letters', { timeout: 30_000 }, async () => {
    const letters = await all(shop, 'letters')
    const { deadLetters } = await shop.get<{ deadLetters: (DeadLetter & { event: Stored })[] }>(
      '/api/consumers/mail/dead-letters',
    )
    const told = [...letters, ...deadLetters.map(({ event }) => event)].map(
      (event) => `${event.data['cart']} ${event.data['template']}`,
    )
    expect(told.toSorted()).toEqual(
      visitors.flatMap(({ cart }) => [`${cart} order-confirmed`, `${cart} order-shipped`]),
    )
    const outbox = readdirSync(join(folder, 'outbox')).filter((name) => name.endsWith('.json'))
    expect(outbox.toSorted()).toEqual(letters.map((letter) => `${letter.causationid}.json`).toSorted())
    for (const name of outbox)
      expect(JSON.parse(readFileSync(join(folder, 'outbox', name), 'utf8'))).toMatchObject({
        to: expect.stringContaining('@example.com'),
      })
  })

  test('the webhooks go on where they were, each once, and the activity adds up', { timeout: 60_000 }, async () => {
    for (
      let tries = 0;
      tries < 100 &&
      (await shop.get<BrokerDescription>('/api/describe')).channels.find(({ name }) => name === 'github')?.next !== 329;
      tries++
    )
      await wait(100)
    await settle(shop)
    const webhooks = await all(shop, 'github')
    expect(webhooks.map((event) => event.id)).toEqual(
      Array.from({ length: 329 }, (_, index) => `recorded-${String(index).padStart(5, '0')}`),
    )
    const activity = await all(shop, 'activity')
    expect(new Set(activity.map((event) => event.data['repository'])).size).toBe(activity.length)
    expect(activity.reduce((sum, event) => sum + (event.data['events'] as number), 0)).toBe(329)
  })

  test('Ctrl-C drains and says what it did; the next start has nothing left to do', { timeout: 60_000 }, async () => {
    const before = await Promise.all(
      ['stock', 'prices', 'orders', 'letters', 'activity'].map((channel) => all(shop, channel)),
    )
    expect(await shop.stop()).toBe(0)
    expect(shop.output).toMatch(/Published in this run: \d+ events/)
    expect(shop.output).toMatch(/fulfilment\s+\d+\s+\d+\s+\d+\s+\d+/)
    shop = await ShopProcess.start(...args, '--github-pace', 'off')
    expect(shop.output).toMatch(/with \d+ events from before/)
    await settle(shop)
    expect(
      await Promise.all(['stock', 'prices', 'orders', 'letters', 'activity'].map((channel) => all(shop, channel))),
    ).toEqual(before)
    expect(await shop.stop()).toBe(0)
    expect(shop.output).toContain('Published in this run: 0 events.')
    for (const name of ['inventory', 'pricing', 'fulfilment', 'mail', 'activity'])
      expect(shop.output).toMatch(new RegExp(`${name}\\s+0\\s+0\\s+0\\s+\\d+`))
  })
})
