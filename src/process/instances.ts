/** The instances of a process: list them, look at one, retry or end it. */
import type { Broker } from '../broker/broker.ts'
import type { DeadLetter } from '../broker/description.ts'
import { checkBroker } from '../broker/engine-of.ts'
import type { TableEntry, TableQuery } from '../broker/table.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import { checkProcess, type Process } from './process.ts'
import { End, inboxOf } from './process-inbox.ts'
import { stepping } from './process-runner.ts'
import type { ProcessInstance } from './process-types.ts'
import type { Instance } from './stored-instance.ts'

/** An instance, with what holds it up. */
export interface InspectedInstance<State = unknown> extends ProcessInstance<State> {
  /** Events and timers of the instance that became dead letters, the oldest first. Later ones wait behind them. */
  readonly deadLetters: readonly DeadLetter[]
}

export interface ProcessInstances<State = unknown> {
  /** In the order of their ids. @throws as `entries` of a table */
  list(query?: TableQuery): AsyncIterableIterator<ProcessInstance<State>>
  /** One instance; undefined if there is none. @throws as `get` of a table */
  get(id: string): Promise<InspectedInstance<State> | undefined>
  /** Give the dead letters of an instance back to it, in order. Resolves with how many. */
  retry(id: string): Promise<number>
  /**
   * End an instance: its state and its timers are deleted, and its dead letters dropped. Events that wait behind a dead
   * letter are handled before.
   */
  end(id: string): Promise<void>
}

/**
 * The instances of a process, running or not, in whichever process of the system.
 *
 * @throws INVALID_OPTION when an argument is no broker or no process
 * @example
 * ```ts no-run
 * import { connect, instances, process } from 'millrace'
 * import { z } from 'zod'
 *
 * const broker = await connect('file:./data')
 * const checkout = process('checkout', 'orders', { state: z.object({ stage: z.string() }) })
 * for await (const { id, state, timers } of instances(broker, checkout).list()) console.log(id, state.stage, timers)
 * await instances(broker, checkout).retry('order-7')
 * ```
 */
export function instances<State, Next, Definition extends AnyEventDefinition>(
  broker: Broker,
  of: Process<State, Next, Definition>,
): ProcessInstances<State> {
  checkBroker(broker, 'instances()')
  checkProcess(of, 'instances()')
  const { name } = of
  const table = broker.table(stepping(of.data))
  const letters = broker.deadLetters(name)
  return {
    list: async function* (query = {}) {
      for await (const entry of table.entries(query)) yield instanceOf<State>(entry as TableEntry<Instance>)
    },
    get: async (id) => {
      const entry = await table.get(id)
      if (entry === undefined) return undefined
      return { ...instanceOf<State>(entry as TableEntry<Instance>), deadLetters: await letters.list({ key: id }) }
    },
    retry: (id) => letters.redrive({ key: id }),
    end: async (id) => {
      await broker.publish(inboxOf(of.data), End({}, { partitionkey: id }))
      await letters.drop({ key: id })
    },
  }
}

function instanceOf<State>({ key, value, storedAt }: TableEntry<Instance>): ProcessInstance<State> {
  const timers = Object.entries(value.timers).map(([timer, { dueAtMs }]) => ({ name: timer, dueAt: new Date(dueAtMs) }))
  return { id: key, state: value.state as State, timers, updatedAt: storedAt }
}
