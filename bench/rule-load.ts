/**
 * Rules of mixed kinds, and the events of a shop, a few of which match: the same events for one rule and for 100,000.
 */
import type { PatternJson } from 'millrace/pattern'

/** The rules that events match; they are part of every size. */
const HOT: readonly PatternJson[] = [
  { type: ['order.placed'], data: { customer: { country: ['NO'] } } },
  { data: { sku: [{ prefix: 'tea-' }], quantity: [{ numeric: ['>', 90] }] } },
  { source: [{ suffix: '/web' }], data: { total: [{ numeric: ['>=', 100, '<', 110] }] } },
  { data: { customer: { ip: [{ cidr: '10.3.0.0/16' }] } } },
  { data: { note: [{ wildcard: '*gift*wrap*' }] } },
  { data: { city: [{ 'equals-ignore-case': 'OSLO' }], coupon: [{ exists: true }] } },
  { data: { items: { sku: ['coffee-7'], count: [3] } } },
  { type: [{ 'anything-but': ['order.placed', 'order.paid'] }], data: { customer: { country: ['SE'] } } },
  {
    $or: [{ data: { sku: ['tea-1'] } }, { data: { customer: { country: ['DK'] }, quantity: [{ numeric: ['=', 5] }] } }],
  },
  { data: { tags: ['vip'], coupon: [{ exists: false }] } },
]

/** Similar rules that no event matches, each for its own customer, product or range. */
const COLD: readonly ((number: number) => PatternJson)[] = [
  (number) => ({ type: ['order.placed'], data: { customer: { id: [`cold-${number}`] } } }),
  (number) => ({ data: { sku: [{ prefix: `tea-x${number}-` }], quantity: [{ numeric: ['>', 90] }] } }),
  (number) => ({
    source: [{ suffix: '/web' }],
    data: { total: [{ numeric: ['>=', 1000 + number / 8, '<', 1000 + (number + 1) / 8] }] },
  }),
  (number) => ({
    data: {
      customer: { ip: [{ cidr: `172.${16 + ((number >> 12) & 15)}.${(number >> 4) & 255}.${(number & 15) * 16}/28` }] },
    },
  }),
  (number) => ({ data: { note: [{ wildcard: `*order ${number}x*wrap*` }] } }),
  (number) => ({ data: { city: [{ 'equals-ignore-case': `Town ${number}` }], coupon: [{ exists: true }] } }),
  (number) => ({ data: { items: { sku: [`coffee-x${number}`], count: [3] } } }),
  (number) => ({
    type: [{ 'anything-but': ['order.placed'] }],
    data: { email: [{ suffix: `@cold${number}.example` }] },
  }),
  (number) => ({
    $or: [{ data: { sku: [`cold-${number}`] } }, { data: { customer: { country: ['DK'], id: [`cool-${number}`] } } }],
  }),
  (number) => ({ data: { tags: [`tag-${number}`], coupon: [{ exists: false }] } }),
]

/** The rule with a number: the first ten match events, the others do not. */
export function mixedRule(number: number): PatternJson {
  return HOT[number] ?? (COLD[number % COLD.length] as (number: number) => PatternJson)(number)
}

export function shopEvents(count: number): string[] {
  let seed = 11
  const random = (below: number): number => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0
    return Math.floor((seed / 2 ** 32) * below)
  }
  const pick = <Value>(values: readonly Value[]): Value => values[random(values.length)] as Value
  const sku = (): string => `${pick(['tea', 'coffee', 'cup'])}-${random(10)}`
  return Array.from({ length: count }, (_, number) => {
    const id = random(1e6)
    const items = Array.from({ length: 1 + random(4) }, () => ({
      sku: sku(),
      count: 1 + random(4),
      price: random(5000) / 100,
    }))
    const customer = {
      id: `c-${id}`,
      country: pick(['NO', 'SE', 'DK', 'FI', 'DE', 'FR', 'GB', 'US']),
      ip: `10.${random(16)}.${random(256)}.${random(256)}`,
    }
    const tags = pick([[], ['new'], ['vip', 'new'], ['returning']])
    const data = {
      sku: sku(),
      quantity: random(100),
      total: random(20_000) / 100,
      city: pick(['Oslo', 'Bergen', 'Malmö', 'Lund']),
      customer,
      email: `c${id}@example.com`,
      tags,
      items,
    }
    const extra =
      random(3) === 0 ? { coupon: `CP${random(100)}`, note: pick(['a gift: wrap it', 'leave at the door']) } : {}
    return JSON.stringify({
      specversion: '1.0',
      id: `e-${number}`,
      source: pick(['/shop/web', '/shop/app']),
      type: pick(['order.placed', 'order.paid', 'order.sent']),
      time: '2026-01-01T00:00:00.000Z',
      datacontenttype: 'application/json',
      data: { ...data, ...extra },
    })
  })
}
