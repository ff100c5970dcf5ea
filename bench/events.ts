/**
 * The workload: CloudEvents of about 235 bytes as JSON, from a storefront. Each has a number (`line`), so that a lost
 * event can be told from one that came twice.
 */
import { type EventDefinition, event, type Stream, stream } from 'millrace'
import { z } from 'zod'

export interface CartItem {
  readonly cart: string
  readonly sku: string
  readonly quantity: number
  readonly cents: number
  readonly line: number
}

export const SOURCE = '/storefront'
export const TYPE = 'cart.item.added'

export const ItemAdded: EventDefinition<typeof TYPE, CartItem> = event(
  TYPE,
  z.object({ cart: z.string(), sku: z.string(), quantity: z.int(), cents: z.int(), line: z.int() }),
)

/** A stream as an application declares it: typed, with the cart as key, with ids deduplicated in the default window. */
export function cartStream(name = 'carts'): Stream<typeof ItemAdded> {
  return stream(name, { events: [ItemAdded], key: (added) => added.data.cart })
}

const CARTS = Array.from({ length: 10_000 }, (_, at) => `c-${String(at).padStart(5, '0')}`)
const SKUS = Array.from({ length: 500 }, (_, at) => `tea-${String(at).padStart(4, '0')}`)

/** The data of event number `line`. Consecutive events belong to different carts, as in a real shop. */
export function cartItem(line: number): CartItem {
  return {
    cart: CARTS[(line * 7919) % CARTS.length] as string,
    sku: SKUS[line % SKUS.length] as string,
    quantity: 1 + (line % 9),
    cents: 500 + (line % 9000),
    line,
  }
}

/** An event of the bare loop and the peers: the same JSON without any checks. */
export interface BareEvent {
  readonly specversion: '1.0'
  readonly id: string
  readonly source: string
  readonly type: string
  readonly time: string
  readonly data: CartItem
}

const IDS = Array.from({ length: 4096 }, () => crypto.randomUUID())
const TIME = new Date().toISOString()

/** Ids are prepared and repeat after 4,096 events: a system without deduplication does not pay for ids. */
export function bareEvent(item: CartItem): BareEvent {
  return { specversion: '1.0', id: IDS[item.line & 4095] as string, source: SOURCE, type: TYPE, time: TIME, data: item }
}
