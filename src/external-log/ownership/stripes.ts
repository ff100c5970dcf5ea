/**
 * Stripes: which partitions of a consumer's channels belong together, and which member works on them.
 *
 * The partition of a key is its hash modulo the number of partitions of the channel. Modulo the greatest common divisor
 * of these numbers, the partitions of one key are equal in all channels: that is the stripe of the key. All partitions
 * of a stripe go to one member, so one member has a key in all channels (clause 4). If the divisor is 1, there is one
 * stripe and one member has it.
 */
import { consumerLogOf } from '../consumer-log/consumer-log-name.ts'
import type { ChannelEntry } from '../log-backend.ts'
import { partitionHash } from '../publish/partition-hash.ts'

export interface StripePart {
  readonly entry: ChannelEntry
  readonly partition: number
  readonly consumerLog: string
}

export interface Stripe {
  /** The member that should own the stripe; undefined if no member works. */
  readonly owner: string | undefined
  readonly parts: readonly StripePart[]
}

/** A member that lives and takes events now. */
export interface StripeMember {
  readonly name: string
  takes(channel: string): boolean
  /** Whether the member shares out by stripes. Members of older versions share out each channel by itself. */
  readonly stripes: boolean
}

interface Shared {
  readonly spec: Pick<ChannelEntry['spec'], 'name'>
  readonly partitions: number
}

/** Stands for all channels of a consumer of several channels. No channel has this name. */
const SEVERAL = { name: '*' }

/**
 * The stripes of a group. All members compute the same ones. A stripe over several channels goes to members that take
 * all of these channels. If no member takes all, or a member of an older version works, each channel is shared out by
 * itself.
 */
export function stripesOf(group: string, entries: readonly ChannelEntry[], members: readonly StripeMember[]): Stripe[] {
  const taken = entries.filter(({ spec }) => members.some((member) => member.takes(spec.name)))
  const others = entries.filter((entry) => !taken.includes(entry))
  const together =
    members.every(({ stripes }) => stripes) &&
    members.some((member) => taken.every(({ spec }) => member.takes(spec.name)))
  const sets = together ? [taken, ...alone(others)] : alone(entries)
  return sets.flatMap((channels) => stripesOver(group, channels, members))
}

function alone(entries: readonly ChannelEntry[]): ChannelEntry[][] {
  return entries.map((entry) => [entry])
}

function stripesOver(group: string, channels: readonly ChannelEntry[], members: readonly StripeMember[]): Stripe[] {
  const [first, ...more] = channels
  if (first === undefined) return []
  const stripes = more.reduce((divisor, { partitions }) => commonDivisor(divisor, partitions), first.partitions)
  const takers = members
    .filter((member) => channels.every(({ spec }) => member.takes(spec.name)))
    .map(({ name }) => name)
  const owners = sharedOut(group, { spec: more.length === 0 ? first.spec : SEVERAL, partitions: stripes }, takers)
  const parts = Array.from({ length: stripes }, (): StripePart[] => [])
  for (const entry of channels) {
    for (let partition = 0; partition < entry.partitions; partition++) {
      parts[partition % stripes]?.push({
        entry,
        partition,
        consumerLog: consumerLogOf(group, entry.spec.name, partition),
      })
    }
  }
  return parts.map((its, stripe) => ({ owner: owners[stripe], parts: its }))
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b)
}

/**
 * The owner of each partition of a channel, among the members that live and take the channel. A partition goes to the
 * member with the highest hash that has room (rendezvous hashing with bounded loads). The loads differ by at most one
 * partition. So a new member takes over its share, the others keep most of theirs, and no member is idle while another
 * one has two.
 */
export function sharedOut(group: string, { spec, partitions }: Shared, members: readonly string[]): string[] {
  if (members.length === 0) return []
  const least = Math.floor(partitions / members.length)
  /** The number of members that may have one partition more. */
  let more = partitions % members.length
  const loads = new Map(members.map((member) => [member, 0]))
  return Array.from({ length: partitions }, (_, partition) => {
    const consumerLog = consumerLogOf(group, spec.name, partition)
    let winner = ''
    let best = -1
    for (const [member, load] of loads) {
      if (load > least || (load === least && more === 0)) continue
      const weight = partitionHash(`${member}\0${consumerLog}`)
      if (weight > best) [winner, best] = [member, weight]
    }
    const load = loads.get(winner) ?? 0
    if (load === least) more--
    loads.set(winner, load + 1)
    return winner
  })
}
