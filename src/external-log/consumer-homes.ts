/**
 * Finds the homes of one consumer with the index of consumers, at a cost that does not depend on other consumers and
 * channels.
 */
import { consumerKeys, QUEUE_GROUP } from '../delivery/consumer-records.ts'
import { type Homes, inOrder } from '../delivery/consumers/homes.ts'
import type { ConsumerIndex, TakesPart } from './consumer-index.ts'
import { homeOf, type PartitionHome } from './partition-home.ts'
import type { Registry } from './registry.ts'

export interface ConsumerHomesHost {
  readonly index: ConsumerIndex
  readonly registry: Registry
}

type AnyHomes = Pick<Homes<PartitionHome>, 'list' | 'read' | 'here' | 'elsewhere'>

export class ConsumerHomes {
  readonly #homes: AnyHomes
  readonly #host: ConsumerHomesHost

  constructor(homes: AnyHomes, host: ConsumerHomesHost) {
    this.#homes = homes
    this.#host = host
  }

  /** The homes in the streams in which the consumer has begun, and in the queues on which it has worked. */
  async of(consumer: string): Promise<PartitionHome[]> {
    const { index, registry } = this.#host
    const { channels, version } = await index.of(consumer, () => this.#all())
    await Promise.all(channels.map((channel) => registry.lookAt(channel)))
    const found = await Promise.all(channels.map((channel) => this.#begun(consumer, channel)))
    const idle = channels.filter((_, at) => found[at]?.length === 0)
    if (idle.length > 0) await this.#drop(consumer, idle, version)
    return inOrder(found.flat())
  }

  /** The homes of a consumer in a channel, in all partitions. None if the consumer has begun in no partition. */
  async #begun(consumer: string, channel: string): Promise<readonly PartitionHome[]> {
    const homes = this.#possible(consumer, channel)
    // Usually the first partition shows it already.
    for (const home of homes) if (await this.#hasBegun(consumer, home)) return homes
    return []
  }

  #possible(consumer: string, channel: string): readonly PartitionHome[] {
    const entry = this.#host.registry.find(channel)
    if (entry === undefined) return []
    const group = entry.spec.kind === 'queue' ? QUEUE_GROUP : consumer
    return Array.from({ length: entry.partitions }, (_, partition) => homeOf(group, entry, partition))
  }

  async #hasBegun(consumer: string, home: PartitionHome): Promise<boolean> {
    const { cursor, records, workers } = await this.#homes.read(home)
    return home.group === QUEUE_GROUP
      ? workers.includes(consumer)
      : cursor !== null || records.get(consumerKeys.cursor(consumer, home.logId)) !== undefined
  }

  /**
   * Drop channels from the index that are gone, or in which the consumer has not begun. `version` is the version of the
   * index in which they were found.
   */
  async #drop(consumer: string, idle: readonly string[], version: number): Promise<void> {
    const { index, registry } = this.#host
    const dropped = idle.filter((channel) => registry.isGone(channel))
    const others = idle.filter((channel) => registry.find(channel) !== undefined)
    if (others.length > 0 && !(await this.#runs(consumer, others))) {
      // It may have run, and begun, before the look at the members.
      for (const channel of others) if ((await this.#begun(consumer, channel)).length === 0) dropped.push(channel)
    }
    if (dropped.length > 0) await index.drop(consumer, dropped, version)
  }

  async #runs(consumer: string, channels: readonly string[]): Promise<boolean> {
    if (this.#homes.here(consumer).length > 0) return true
    const homes = channels.flatMap((channel) => this.#possible(consumer, channel).slice(0, 1))
    return (await this.#homes.elsewhere(consumer, homes)).length > 0
  }

  /** All consumers and their channels, found without the index. */
  async #all(): Promise<readonly TakesPart[]> {
    await this.#host.registry.look()
    const found = new Map<string, TakesPart>()
    await Promise.all(
      (await this.#homes.list()).map(async (home) => {
        const { group, channel } = home
        const consumers = group === QUEUE_GROUP ? (await this.#homes.read(home)).workers : [group]
        for (const consumer of consumers) found.set(`${consumer}/${channel.name}`, [consumer, channel.name])
      }),
    )
    return [...found.values()]
  }
}
