/** Consumers of the scenarios of clause 19, whose state is the list of the numbers that they have handled. */
import assert from 'node:assert/strict'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { Broker } from '../../broker/broker.ts'
import type { Channel } from '../../channel/channel.ts'
import { type Consumer, consumer } from '../../consumer/consumer.ts'
import type { ConsumerOptions, StateContext } from '../../consumer/consumer-types.ts'
import { idle, numbers, type Paid, Placed } from './fixtures.ts'
import type { World } from './world.ts'

/** The numbers of the events of a key that were handled. */
export interface Seen {
  readonly ns: readonly number[]
}

export const seenSchema: StandardSchemaV1<Seen, Seen> = {
  '~standard': {
    version: 1,
    vendor: 'millrace-conformance',
    validate: (value) =>
      Array.isArray((value as Partial<Seen> | null)?.ns)
        ? { value: value as Seen }
        : { issues: [{ message: 'ns must be a list', path: ['ns'] }] },
  },
}

export const seen: { readonly schema: typeof seenSchema; readonly initial: Seen } = {
  schema: seenSchema,
  initial: { ns: [] },
}

export type Recording = Consumer<Placed | Paid, StateContext<Seen>>
type Step = (n: number, ctx: StateContext<Seen>) => unknown

/** Adds the number of each event to the state of its key, and then does `after`. */
export function recording(
  name: string,
  channel: Channel<'stream' | 'queue', Placed | Paid>,
  after: Step = () => undefined,
  options: ConsumerOptions = {},
): Recording {
  return consumer(name, channel, { ...options, state: seen }).on(Placed, ({ data: { n } }, ctx) => {
    ctx.setState({ ns: [...ctx.state.ns, n] })
    return after(n, ctx)
  }) as Recording
}

/** The numbers in the state of a key. */
export async function kept(broker: Broker, of: Recording, key: string): Promise<readonly number[] | undefined> {
  return (await broker.table(of).get(key))?.value.ns
}

/** The numbers of all keys. */
export async function table(broker: Broker, of: Recording): Promise<Record<string, readonly number[]>> {
  const all: Record<string, readonly number[]> = {}
  for await (const { key, value } of broker.table(of).entries()) all[key] = value.ns
  return all
}

/** Of `count` events over `keys` keys, the numbers of each key. */
export function byKey(count: number, keys: number): Record<string, number[]> {
  return Object.fromEntries(
    numbers(keys).map((key) => [`k${key}`, numbers(count).filter((n) => n % keys === key)] as const),
  )
}

export async function settledTable(
  world: World,
  broker: Broker,
  of: Recording,
  count: number,
  keys: number,
): Promise<void> {
  await idle(world, broker, of.name)
  await world.eventually(async () => assert.deepEqual(await table(broker, of), byKey(count, keys)))
}
