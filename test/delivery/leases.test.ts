/** A lease is a span: a jump of the wall clock, forward or back, does not change when it ends. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { LeaseWatch } from '../../src/delivery/dispatch/lease-watch.ts'
import { CursorWorld } from './cursor-world.ts'
import { SimClock } from './model/sim-clock.ts'

const LEASE_MS = 30_000
const HOUR_MS = 3_600_000

let clock: SimClock
let world: CursorWorld
let watch: LeaseWatch
beforeEach(async () => {
  clock = new SimClock(1_000_000, 0)
  world = new CursorWorld({ clock })
  world.log.append('a', 'b', 'c')
  await vi.waitFor(() => expect(world.deliveries.length).toBe(3))
  watch = new LeaseWatch(clock, new Set([world.instance]))
  watch.watch()
})
afterEach(() => watch.close())

test.for([HOUR_MS, -HOUR_MS, LEASE_MS / 5, -LEASE_MS / 5])(
  'the wall clock jumps by %i ms: an instance that renews its lease keeps its deliveries',
  async (jumpMs) => {
    for (let beats = 0; beats < 10; beats++) {
      if (beats === 3) clock.jump(jumpMs)
      await clock.pass(LEASE_MS / 2)
      expect(world.instance.lapsed).toBe(false)
      world.instance.renew()
    }
    expect(world.given.length).toBe(3)
  },
)

test.for([HOUR_MS, -HOUR_MS, LEASE_MS / 5, -LEASE_MS / 5])(
  'the wall clock jumps by %i ms: an instance that does not renew its lease loses its deliveries when the lease ends',
  async (jumpMs) => {
    await clock.pass(LEASE_MS * 0.3)
    clock.jump(jumpMs)
    await clock.pass(LEASE_MS * 0.6)
    expect(world.instance.lapsed).toBe(false)
    await clock.pass(LEASE_MS)
    expect(world.instance.lapsed).toBe(true)
  },
)

test('an event counts as the cause of a lost lease only if the instance held nothing else, in any channel', async () => {
  const [orders, payments] = [new CursorWorld({ clock }), new CursorWorld({ clock })]
  payments.cursor.attach(orders.instance)
  payments.cursor.detach(payments.instance)
  orders.log.append('a')
  payments.log.append('b')
  await vi.waitFor(() => expect(orders.deliveries.length).toBe(2))
  const both = new LeaseWatch(clock, new Set([orders.instance]))
  both.watch()
  await clock.pass(2 * LEASE_MS)
  both.close()
  expect(orders.instance.lapsed).toBe(true)
  for (const { cursor } of [orders, payments])
    expect(cursor.state.retries.get(0)).toMatchObject({ attempts: 1, proven: false })
})

test('a lease begins when the subscriber has its subscription, however long that took', async () => {
  const slow = new CursorWorld({ clock, begin: false })
  await clock.pass(2 * LEASE_MS)
  slow.instance.begin()
  slow.log.append('a')
  await vi.waitFor(() => expect(slow.deliveries.length).toBe(1))
  const watching = new LeaseWatch(clock, new Set([slow.instance]))
  watching.watch()
  await clock.pass(LEASE_MS / 2)
  watching.close()
  expect(slow.instance.lapsed).toBe(false)
})
