/**
 * An owner dies after it gave an event to another process, while the completion of the previous event of the same key
 * is not on disk. The next owner must do both: the surviving process has the later event in hand, and no process has
 * the earlier one.
 *
 * The engine uses a store in memory that accepts no commits after its owner is dead. The test moves the clock.
 */
import { setImmediate as turn } from 'node:timers/promises'
import { expect, it, vi } from 'vitest'
import type { ClaimOutcome, ConsumerSpec, Delivery, HeldClaim, Subscription } from '../../src/broker/engine.ts'
import type { ChannelSpec } from '../../src/channel/channel.ts'
import { memoryCapabilities } from '../../src/engines/embedded/capabilities.ts'
import { EmbeddedEngine } from '../../src/engines/embedded/embedded-engine.ts'
import { MemoryStore } from '../../src/engines/embedded/storage/memory-store.ts'
import type { Frame, Store } from '../../src/engines/embedded/store.ts'
import type { Block } from '../../src/event/block.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

const CLAIMS_MS = 1000
const LEASE_MS = 30_000

const CHANNEL: ChannelSpec = {
  name: 'work',
  kind: 'stream',
  types: null,
  retain: { ageMs: null, bytes: null, count: null, latestByKey: false },
  dedupe: null,
  eventBytesMax: 1000,
}

const SPEC: ConsumerSpec = {
  name: 'worker',
  channels: ['work'],
  wants: [{ type: null, pattern: null }],
  from: { at: 'beginning' },
  onDead: null,
  credit: 1,
  perKey: 1,
  leaseMs: LEASE_MS,
  attemptsMax: 8,
  stallMs: 60_000,
}

/** The store of an owner: commits after `die` have no effect. */
function mortal(store: MemoryStore<Block>): { readonly store: Store<Block>; die(): void } {
  let dead = false
  const commit = (frame: Frame<Block>, done: (error: Error | null) => void): void => {
    if (!dead) store.commit(frame, done)
  }
  const facade = new Proxy(store, {
    get: (target, name) => {
      if (name === 'commit') return commit
      const value = Reflect.get(target, name) as unknown
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  return {
    store: facade,
    die: () => {
      dead = true
    },
  }
}

class Hands {
  readonly got: Delivery[] = []
  readonly taken: number[] = []
  subscription: Subscription | null = null

  static async on(engine: EmbeddedEngine): Promise<Hands> {
    const hands = new Hands()
    hands.subscription = await engine.subscribe(SPEC, {
      deliver: (deliveries) => hands.got.push(...deliveries),
      passesOn: false,
      revoked: (deliveries) => hands.taken.push(...deliveries.map(({ offset }) => offset)),
    })
    return hands
  }

  complete(): boolean {
    return (this.subscription as Subscription).complete(this.got.shift() as Delivery, null)
  }

  claim(claims: readonly HeldClaim[]): ClaimOutcome[] {
    return this.subscription?.claim(claims) ?? []
  }

  get offsets(): number[] {
    return this.got.map(({ offset }) => offset)
  }
}

async function rest(): Promise<void> {
  for (let turns = 0; turns < 20; turns++) await turn()
}

/** Move the clock, and let everything happen that is due. */
async function pass(clock: VirtualClock, ms: number): Promise<void> {
  const end = clock.now() + ms
  while (clock.step(end)) await rest()
  await rest()
}

interface Case {
  readonly clock: VirtualClock
  /** The next owner. */
  readonly engine: EmbeddedEngine
}

/**
 * The first owner: it handled event 0, and that is lost. Event 1 of the same key is in the hands of another process.
 */
async function afterTheDeath(): Promise<Case> {
  const clock = new VirtualClock(1_000_000)
  const memory = new MemoryStore<Block>()
  const { store, die } = mortal(memory)
  const open = (of: Store<Block>, claimsMs?: number): EmbeddedEngine =>
    new EmbeddedEngine({ name: 'file', capabilities: memoryCapabilities, store: of, clock, claimsMs })
  const first = open(store)
  await first.declare(CHANNEL)
  const own = await Hands.on(first)
  await rest()
  for (const id of ['a', 'b']) await first.publish('work', { id, type: 't', key: 'k', text: `{"id":"${id}"}` }, null)
  await vi.waitFor(() => expect(own.offsets).toEqual([0]))
  const other = await Hands.on(first)
  // A delivery is recorded some milliseconds after it was given.
  await new Promise((resolve) => setTimeout(resolve, 50))
  own.subscription?.pause()
  die()
  expect(own.complete()).toBe(true)
  await vi.waitFor(() => expect(other.offsets).toEqual([1]))
  return { clock, engine: open(memory, CLAIMS_MS) }
}

it('who lives keeps what it has in hand, and what stands before it of its key waits until that is over; then both are handled in their order', async () => {
  const { clock, engine } = await afterTheDeath()
  const other = await Hands.on(engine)
  await rest()
  expect(other.claim([{ channel: 'work', offset: 1, attempt: 1 }])).toEqual(['kept'])
  const third = await Hands.on(engine)
  await rest()
  expect([other.offsets, third.offsets]).toEqual([[1], []])
  for (let waited = 0; waited < LEASE_MS; waited += 5000) {
    await pass(clock, 5000)
    for (const hands of [other, third]) hands.subscription?.renew()
    expect([other.offsets, third.offsets, other.taken], `${waited} ms after the takeover`).toEqual([[1], [], []])
  }
  // Its completion does not count: the event comes after the one that is still to be done.
  expect(other.complete()).toBe(false)
  await rest()
  const handled: number[] = []
  await vi.waitFor(async () => {
    await pass(clock, 100)
    for (const hands of [other, third]) {
      const [next] = hands.offsets
      if (next !== undefined && hands.complete()) handled.push(next)
    }
    expect(handled).toEqual([0, 1])
  })
})

it('the claim may come when its event is known to wait behind the other', async () => {
  const { clock, engine } = await afterTheDeath()
  const third = await Hands.on(engine)
  const other = await Hands.on(engine)
  await rest()
  // The third process's own claim makes the cursor read everything.
  expect(third.claim([{ channel: 'work', offset: 7, attempt: 1 }])).toEqual(['lost'])
  expect(other.claim([{ channel: 'work', offset: 1, attempt: 1 }])).toEqual(['kept'])
  await pass(clock, CLAIMS_MS + 100)
  expect([other.offsets, third.offsets]).toEqual([[1], []])
})

it('who does not claim in time is held to be hung: others have its event, and it is told so', async () => {
  const { clock, engine } = await afterTheDeath()
  const third = await Hands.on(engine)
  await pass(clock, CLAIMS_MS - 1)
  expect(third.offsets).toEqual([])
  await pass(clock, 2)
  await vi.waitFor(() => expect(third.offsets).toEqual([0]))
  expect(third.complete()).toBe(true)
  await vi.waitFor(() => expect(third.offsets).toEqual([1]))
  const late = await Hands.on(engine)
  expect(
    late.claim([
      { channel: 'work', offset: 1, attempt: 1 },
      { channel: 'work', offset: 0, attempt: 1 },
    ]),
  ).toEqual(['lost', 'done'])
  expect(late.offsets).toEqual([])
})
