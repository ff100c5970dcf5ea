/** A handler whose event was taken away runs on: in its process, no other of its key begins before it has ended. */
import { expect, test } from 'vitest'
import { ConnectedBroker } from '../../src/broker/connected-broker.ts'
import type { Engine } from '../../src/broker/engine.ts'
import { openMemoryEngine } from '../../src/engines/embedded/open.ts'
import { type BatchOptions, consumer, isMillraceError } from '../../src/index.ts'
import { Gate, keyed, Noted, TestClock } from './fixture.ts'

/** A broker whose consumers are not heard of while `silent` is set: their leases run out. */
function open(): { readonly broker: ConnectedBroker; readonly clock: TestClock; silent: boolean } {
  const clock = new TestClock()
  const engine = openMemoryEngine({}, clock)
  const bed = { clock, silent: false, broker: null as unknown as ConnectedBroker }
  const subscribe: Engine['subscribe'] = async (spec, sink) => {
    const subscription = await engine.subscribe(spec, sink)
    const renew = subscription.renew.bind(subscription)
    subscription.renew = () => (bed.silent ? undefined : renew())
    return subscription
  }
  const unheard = new Proxy(engine, {
    get(of, name) {
      if (name === 'subscribe') return subscribe
      const value: unknown = Reflect.get(of, name, of)
      return typeof value === 'function' ? value.bind(of) : value
    },
  })
  bed.broker = new ConnectedBroker(unheard, { source: '/test', random: () => 0.5 })
  return bed
}

test.each([[null], [{ size: 3 }]])(
  'after a lost lease the next handler of the key waits for the old one (batches: %j)',
  async (batch: BatchOptions | null) => {
    const bed = open()
    const { broker, clock } = bed
    const [gate, began, aborted] = [new Gate(), [] as string[], [] as boolean[]]
    const handle = async (noted: number, attempt: number, signal: AbortSignal): Promise<void> => {
      began.push(`${noted} ${attempt}`)
      if (began.length > 1) return
      await gate.opened
      aborted.push(isMillraceError(signal.reason, 'LEASE_LOST'))
    }
    const plain = consumer('worker', keyed, { lease: '1s' })
    await broker.start(
      batch === null
        ? plain.on(Noted, ({ data }, { attempt, signal }) => handle(data, attempt, signal))
        : plain.onBatch(Noted, batch, ([first], [ctx]) =>
            handle(first?.data ?? -1, ctx?.attempt ?? 0, ctx?.signal as AbortSignal),
          ),
    )
    await broker.publish(keyed, Noted(10))
    await clock.pass(10)
    await broker.publish(keyed, Noted(11))
    bed.silent = true
    await clock.pass(5000)
    bed.silent = false
    await clock.pass(15_000)
    expect(began).toEqual(['10 1'])
    await broker.publish(keyed, Noted(20))
    await clock.pass(10)
    // One batch runs at a time.
    expect(began).toEqual(batch === null ? ['10 1', '20 1'] : ['10 1'])
    gate.open()
    await clock.pass(10)
    expect(began).toEqual(['10 1', '20 1', '10 2', ...(batch === null ? ['11 1'] : [])])
    expect(aborted).toEqual([true])
    await broker.close()
  },
)
