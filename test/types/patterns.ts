/** `where` knows the event's fields: what must compile and what must not. Never run. */
import { consumer, event, stream } from 'millrace'
import { compilePattern, type PatternOf } from 'millrace/pattern'
import { z } from 'zod'

const Order = event(
  'order.placed',
  z.object({
    id: z.string(),
    total: z.number(),
    express: z.boolean(),
    coupon: z.string().nullable(),
    status: z.enum(['new', 'paid']),
    note: z.string().optional(),
    tags: z.array(z.string()),
    lines: z.array(z.object({ sku: z.string(), count: z.int() })),
    customer: z.object({ country: z.string(), address: z.object({ ip: z.string() }) }),
    extra: z.unknown(),
    prices: z.record(z.string(), z.number()),
  }),
)
const orders = stream('orders', { events: [Order] })

export const compiles = [
  Order.where({
    id: [
      'o-1',
      { prefix: 'o-' },
      { suffix: { 'equals-ignore-case': 'X' } },
      { wildcard: 'o*1' },
      { exactly: 'o' },
      { exists: true },
    ],
  }),
  Order.where({ total: [5, { numeric: ['>', 100] }, { numeric: ['>=', 0, '<', 10] }, { 'anything-but': [1, 2] }] }),
  Order.where({ express: [true], coupon: [null, 'x'], note: [{ exists: false }] }),
  Order.where({ status: ['new', { 'anything-but': 'paid' }] }),
  Order.where({ tags: ['vip'], lines: { sku: ['tea'], count: [{ numeric: ['>', 1] }] } }),
  Order.where({ customer: { country: ['NO'], address: { ip: [{ cidr: '10.0.0.0/8' }] } } }),
  Order.where({ $or: [{ id: ['a'] }, { total: [1] }], express: [false] }),
  Order.where({ extra: { any: ['thing'] }, prices: { tea: [5] } }),
]

// @ts-expect-error there is no such field
Order.where({ totl: [5] })
// @ts-expect-error a nested field is misspelt
Order.where({ customer: { contry: ['NO'] } })
// @ts-expect-error in the elements of an array, too
Order.where({ lines: { price: [1] } })
// @ts-expect-error a number is no string
Order.where({ id: [5] })
// @ts-expect-error a string is no number
Order.where({ total: ['5'] })
// @ts-expect-error numbers have no prefix
Order.where({ total: [{ prefix: '1' }] })
// @ts-expect-error strings are not compared as numbers
Order.where({ id: [{ numeric: ['>', 1] }] })
// @ts-expect-error a range names its lower bound first
Order.where({ total: [{ numeric: ['<', 1, '>', 0] }] })
// @ts-expect-error there is no such comparison
Order.where({ total: [{ numeric: ['=>', 1] }] })
// @ts-expect-error no value of the enumeration
Order.where({ status: ['sent'] })
// @ts-expect-error nor one to be other than
Order.where({ status: [{ 'anything-but': 'sent' }] })
// @ts-expect-error a field is matched by an array of alternatives
Order.where({ id: 'o-1' })
// @ts-expect-error there is no such operator
Order.where({ id: [{ startsWith: 'o' }] })
// @ts-expect-error a boolean is not null
Order.where({ express: [null] })
// @ts-expect-error an object is matched by its fields
Order.where({ customer: ['NO'] })
// @ts-expect-error a block has a width
Order.where({ customer: { address: { ip: [{ cidr: '10.0.0.0' }] } } })
// @ts-expect-error a choice has at least two sides
Order.where({ $or: [{ id: ['a'] }] })
// @ts-expect-error fields are checked within a choice
Order.where({ $or: [{ id: ['a'] }, { nope: ['b'] }] })
// @ts-expect-error exists takes true or false
Order.where({ note: [{ exists: 'yes' }] })

// The handler of a part gets the whole event's type.
consumer('large', orders).on(Order.where({ total: [{ numeric: ['>', 100] }] }), ({ data }) => {
  data.lines[0]?.count satisfies number | undefined
  // @ts-expect-error it has no such field
  data.totl satisfies number
})

const Other = event('other', z.object({ n: z.int() }))
const Loose = event('loose')
// Each handler gets its own event's type, whatever else the channel carries.
consumer('both', stream('both', { events: [Order, Other, Loose] }))
  .on(Other.where({ n: [1] }), (found) => {
    found.data.n satisfies number
    found.type satisfies 'other'
    // @ts-expect-error it is in the other event
    found.data.total satisfies number
  })
  .on(Order.where({ id: ['o'] }), ({ data }) => data.total satisfies number)
// @ts-expect-error a part of an event that the channel does not carry
consumer('x', orders).on(Other.where({ n: [1] }), () => undefined)

export const typed: PatternOf<{ a: { b: number }[] }> = { a: { b: [{ numeric: ['=', 1] }] } }
// @ts-expect-error b is a number
export const mistyped: PatternOf<{ a: { b: number }[] }> = { a: { b: ['1'] } }
compilePattern({ anything: { goes: ['here'] } })
// @ts-expect-error a pattern is an object or a text
compilePattern(5)
