/**
 * The groups in which this engine's instances work, the partitions that they own here, and where a new consumer begins.
 */
import { MillraceError } from '../../base/errors.ts'
import { isWildcard } from '../../base/names.ts'
import type { Position } from '../../broker/position.ts'
import type { ChannelSpec } from '../../channel/channel.ts'
import { QUEUE_GROUP } from '../../delivery/consumer-records.ts'
import type { Instance } from '../../delivery/dispatch/instance.ts'
import type { ChannelEntry } from '../log-backend.ts'
import { MemberGroup, type MemberGroupHost } from './member-group.ts'

export class MemberGroups {
  readonly byId: Map<string, MemberGroup> = new Map()
  readonly #host: MemberGroupHost
  /** By group and channel. A channel that is created later is read from its beginning. */
  readonly #begins = new Map<string, Position>()

  constructor(host: MemberGroupHost) {
    this.#host = host
  }

  /** Let an instance work on all channels that it takes. Resolves when each of its groups has looked at its members. */
  async enter(instance: Instance): Promise<void> {
    const { spec } = instance
    const groups = new Set<MemberGroup>()
    for (const entry of this.#host.entries()) {
      const group = this.join(instance, entry.spec)
      if (group === null) continue
      groups.add(group)
      const begin = beginKey(group, entry.spec.name)
      if (!this.#begins.has(begin))
        this.#begins.set(begin, entry.spec.kind === 'queue' ? { at: 'beginning' } : spec.from)
    }
    if (spec.channels.some((name) => isWildcard(name))) groups.add(this.#group(spec.name, spec.name))
    for (const group of groups) group.instances.add(instance)
    await Promise.all([...groups].map((group) => group.tick()))
  }

  /** The group in which an instance works on a channel; null if it does not take the channel. */
  join(instance: Instance, spec: ChannelSpec): MemberGroup | null {
    const id = spec.kind === 'queue' ? `${QUEUE_GROUP}/${spec.name}` : instance.spec.name
    const group = this.#group(id, spec.kind === 'queue' ? QUEUE_GROUP : instance.spec.name)
    if (!group.takes(spec.name, instance.spec.channels)) {
      if (group.instances.size === 0) this.byId.delete(id)
      return null
    }
    const known = group.instances.has(instance)
    group.instances.add(instance)
    if (!known) void group.tick()
    return group
  }

  #group(id: string, name: string): MemberGroup {
    let group = this.byId.get(id)
    if (group === undefined) {
      const channel = name === QUEUE_GROUP ? id.slice(QUEUE_GROUP.length + 1) : null
      group = new MemberGroup(id, name, channel, this.#host)
      this.byId.set(id, group)
    }
    return group
  }

  beginOf(group: MemberGroup, channel: string): Position {
    return this.#begins.get(beginKey(group, channel)) ?? { at: 'beginning' }
  }

  /** Channels are new: the groups that take such streams look at them. */
  added(entries: readonly ChannelEntry[]): void {
    for (const group of this.byId.values()) {
      const takes = ({ spec }: ChannelEntry): boolean => spec.kind === 'stream' && group.takes(spec.name)
      if (group.name !== QUEUE_GROUP && entries.some(takes)) void group.tick()
    }
  }

  /** The channel is gone. */
  drop(channel: string): void {
    for (const group of this.byId.values()) {
      for (const owned of [...group.owned.values()]) {
        if (owned.channel !== channel) continue
        owned.ownership.abandon()
        owned.lost()
      }
    }
    for (const begin of this.#begins.keys()) if (begin.endsWith(` ${channel}`)) this.#begins.delete(begin)
  }

  #of(instance: Instance): MemberGroup[] {
    return [...this.byId.values()].filter((group) => group.instances.has(instance))
  }

  /** Resolves when everything that an instance has settled is durable. @throws LEASE_LOST */
  async settled(instance: Instance): Promise<void> {
    await this.flushed(this.#of(instance))
  }

  /**
   * Take a closing instance out of its groups. Resolves when everything that it has settled is durable, and its
   * partitions are given back if no other instance works on them here. Events of a partition that is lost meanwhile are
   * delivered again by the next owner: the instance that closes cannot do more about it.
   */
  async leave(instance: Instance): Promise<void> {
    const groups = this.#of(instance)
    const durable = this.flushed(groups).catch(() => undefined)
    await Promise.all([durable, ...groups.map((group) => group.leave(instance))])
  }

  /**
   * Resolves when everything that consumers have settled in partitions of these groups is durable. @throws LEASE_LOST
   */
  async flushed(groups: Iterable<MemberGroup> = this.byId.values()): Promise<void> {
    const owned = [...groups].flatMap((group) => [...group.owned.values()])
    const results = await Promise.allSettled(owned.map(({ ownership }) => ownership.flushed()))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined)
      throw new MillraceError(
        'LEASE_LOST',
        'a partition was lost to another process before everything that was settled in it was durable',
      )
  }

  async close(): Promise<void> {
    for (const group of this.byId.values()) await group.close()
  }
}

function beginKey(group: MemberGroup, channel: string): string {
  return `${group.id} ${channel}`
}
