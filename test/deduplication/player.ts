/** Plays a history on an engine: publishes, and a consumer that emits what a step says. */

import type { EncodedEvent } from '../../src/broker/encoded-event.ts'
import type { Delivery, Emission, Engine, Subscription } from '../../src/broker/engine.ts'
import { stream } from '../../src/channel/channel.ts'
import { broken, type History, type Item, type Outcome, type Step, type Stored, WINDOW_MS } from './history.ts'

const out = stream('out', { dedupe: { age: WINDOW_MS } })
const orders = stream('orders')

export interface Stage {
  nowMs(): number
  open(): Promise<Engine>
  /** Resolves when nothing more happens by itself. */
  settled(engine: Engine): Promise<void>
  pass(engine: Engine, ms: number): Promise<void>
}

interface Play {
  readonly stage: Stage
  readonly outcomes: Outcome[]
  engine: Engine
  subscription: Subscription | null
  /** What deliveries must emit, by the id of the event. */
  readonly emissions: Map<string, { readonly step: Extract<Step, { items: unknown }>; done(): void }>
}

function encoded({ id, n }: Item): EncodedEvent {
  return {
    id,
    type: 't',
    key: null,
    text: JSON.stringify({ specversion: '1.0', id, source: '/model', type: 't', data: n }),
  }
}

/** Returns what is wrong, or null. */
export async function failureOf(stage: Stage, history: History): Promise<string | null> {
  const play: Play = { stage, outcomes: [], engine: await stage.open(), subscription: null, emissions: new Map() }
  try {
    await begin(play)
    for (const group of history) {
      await Promise.all(group.map((step) => perform(play, step)))
      await stage.settled(play.engine)
    }
    await stage.pass(play.engine, 2 * WINDOW_MS)
    await stage.settled(play.engine)
    let wrong = broken(play.outcomes, await storedIn(play.engine))
    // A busy machine may need longer for what is due.
    for (let tries = 0; wrong !== null && tries < 40; tries++) {
      await stage.pass(play.engine, 50)
      wrong = broken(play.outcomes, await storedIn(play.engine))
    }
    return wrong
  } finally {
    await play.engine.close()
  }
}

async function begin(play: Play): Promise<void> {
  for (const { spec } of [orders, out]) await play.engine.declare(spec)
  play.subscription = await subscribe(play)
}

function subscribe(play: Play): Promise<Subscription> {
  const early: Delivery[] = []
  const deliver = (deliveries: readonly Delivery[]): void => {
    if (play.subscription === null) early.push(...deliveries)
    else for (const delivery of deliveries) complete(play, play.subscription, delivery)
  }
  const spec = {
    name: 'emitter',
    channels: ['orders'],
    wants: [{ type: null, pattern: null }],
    from: { at: 'beginning' },
    onDead: null,
  } as const
  const numbers = { credit: 8, perKey: 1, leaseMs: 60_000, attemptsMax: 8, stallMs: 60_000 }
  return play.engine
    .subscribe({ ...spec, ...numbers }, { deliver, revoked: () => undefined, passesOn: false })
    .then((subscription) => {
      queueMicrotask(() => deliver(early.splice(0)))
      return subscription
    })
}

function complete({ stage, outcomes, emissions }: Play, subscription: Subscription, delivery: Delivery): void {
  const asked = emissions.get(delivery.id)
  const beganMs = stage.nowMs()
  const dueAtMs = asked?.step.delayMs == null ? null : beganMs + asked.step.delayMs
  const events = (asked?.step.items ?? []).map((item): Emission => ({ channel: 'out', event: encoded(item), dueAtMs }))
  if (subscription.complete(delivery, events))
    for (const item of asked?.step.items ?? []) outcomes.push({ item, dueAtMs, beganMs, receipt: null })
  void subscription.flushed().then(asked?.done)
}

async function perform(play: Play, step: Step): Promise<void> {
  const { stage, engine } = play
  if (step.do === 'wait') await stage.pass(engine, step.ms)
  else if (step.do === 'restart') {
    play.subscription = null
    await engine.close()
    play.engine = await stage.open()
    await begin(play)
  } else if (step.do === 'emit') {
    await new Promise<void>((done, fail) => {
      const id = `emit-${step.items[0]?.n}`
      play.emissions.set(id, { step, done })
      engine.publish('orders', encoded({ id, n: 0 }), null).catch(fail)
    })
  } else await publish(play, step.items, step.delayMs, step.batch)
}

async function publish(
  { stage, engine, outcomes }: Play,
  items: readonly Item[],
  delayMs: number | null,
  batch: boolean,
): Promise<void> {
  const beganMs = stage.nowMs()
  const dueAtMs = delayMs === null ? null : beganMs + delayMs
  const events = items.map(encoded)
  const receipts = batch
    ? await engine.publishBatch('out', events, dueAtMs)
    : [await engine.publish('out', events[0] as EncodedEvent, dueAtMs)]
  for (const [at, receipt] of receipts.entries()) outcomes.push({ item: items[at] as Item, dueAtMs, beganMs, receipt })
}

async function storedIn(engine: Engine): Promise<Stored[]> {
  const stored: Stored[] = []
  const options = { from: { at: 'beginning' }, to: null, follow: false, signal: new AbortController().signal } as const
  for await (const batch of engine.read('out', options)) {
    for (const { id, offset, timeMs, text } of batch)
      stored.push({ id, offset, timeMs, n: (JSON.parse(text) as { readonly data: number }).data })
  }
  return stored
}
