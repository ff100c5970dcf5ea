/** A broker in memory whose clock the test moves, without waiting for handlers to end; and what handlers do. */

import { afterEach } from 'vitest'
import { z } from 'zod'
import type { Clock } from '../../src/base/clock.ts'
import { ConnectedBroker, type ConnectedBrokerOptions } from '../../src/broker/connected-broker.ts'
import type { Alarm } from '../../src/broker/description.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { event, stream } from '../../src/index.ts'
import { VirtualClock } from '../../src/testing/virtual-clock.ts'

export const Noted = event('noted', z.number())
export const Other = event('other', z.number())
export const notes = stream('notes', { events: [Noted, Other] })
/** The key is the tens digit of what is noted: 10, 11, 12 have one key. */
export const keyed = stream('keyed', { events: [Noted, Other], key: (each) => String(Math.floor(each.data / 10)) })

/** A clock that stands still until the test moves it, and whose wall clock jumps. */
export class TestClock implements Clock {
  readonly #steady = new VirtualClock(1_000_000)
  skewMs = 0

  now(): number {
    return this.#steady.now() + this.skewMs
  }

  elapsed(): number {
    return this.#steady.now()
  }

  after(delayMs: number, task: () => void): () => void {
    return this.#steady.after(delayMs, task)
  }

  at(timeMs: number, task: () => void): () => void {
    return this.#steady.after(Math.min(timeMs - this.now(), 60_000), task)
  }

  /** Let time pass, and all that it sets off; handlers may go on. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.#steady.now() + ms
    await turns()
    while (this.#steady.step(untilMs)) await turns()
    await turns()
  }
}

/** Turns of the event loop in which everything that needs no time is done. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve))
}

export interface TestBed {
  readonly broker: ConnectedBroker
  readonly clock: TestClock
  readonly alarms: Alarm[]
  readonly engine: Engine
}

const opened: ConnectedBroker[] = []

afterEach(async () => {
  for (const broker of opened.splice(0)) await broker.close()
})

export function open(options: Partial<ConnectedBrokerOptions> = {}): TestBed {
  const clock = new TestClock()
  const alarms: Alarm[] = []
  const engine = openMemoryEngine({}, clock)
  const broker = new ConnectedBroker(engine, {
    source: '/test',
    random: () => 0.5,
    onAlarm: (alarm) => alarms.push(alarm),
    ...options,
  })
  opened.push(broker)
  return { broker, clock, alarms, engine }
}

/** Something that a handler waits at until the test opens it. */
export class Gate {
  readonly opened: Promise<void>
  open!: () => void

  constructor() {
    this.opened = new Promise((resolve) => {
      this.open = resolve
    })
  }
}
