/** Stripes: all partitions of a key, over all channels of a consumer, have one owner. */
import { expect, it } from 'vitest'
import type { ChannelEntry } from '../../src/external-log/log-backend.ts'
import { type StripeMember, stripesOf } from '../../src/external-log/ownership/stripes.ts'
import { partitionOf } from '../../src/external-log/publish/appending.ts'

const channel = (name: string, partitions: number): ChannelEntry => ({ partitions, spec: { name } }) as ChannelEntry
const member = (name: string, channels: readonly string[], stripes = true): StripeMember => ({
  name,
  takes: (each) => channels.includes(each),
  stripes,
})
const NAMES = ['orders', 'payments', 'refunds'] as const

function ownersOf(
  entries: readonly ChannelEntry[],
  members: readonly StripeMember[],
): ReadonlyMap<string, string | undefined> {
  return new Map(
    stripesOf('worker', entries, members).flatMap(({ owner, parts }) =>
      parts.map(({ consumerLog }) => [consumerLog, owner] as const),
    ),
  )
}

it('a key has one owner over all channels, whatever their numbers of partitions', () => {
  const members = [member('a', NAMES), member('b', NAMES), member('c', NAMES)]
  for (const counts of [
    [16, 16, 16],
    [16, 24, 40],
    [1, 16, 16],
    [7, 9, 16],
  ]) {
    const entries = NAMES.map((name, at) => channel(name, counts[at] ?? 1))
    const owners = ownersOf(entries, members)
    expect(owners.size).toBe(counts.reduce((sum, count) => sum + count, 0))
    for (let key = 0; key < 200; key++) {
      const its = entries.map(({ spec, partitions }) => {
        const partition = partitionOf({ key: `k-${key}`, id: '', type: '', text: '' }, partitions)
        return owners.get(`worker/${spec.name}/${partition}`)
      })
      expect(new Set(its).size).toBe(1)
      expect(its[0]).toBeDefined()
    }
  }
})

it('if the numbers of partitions have no common divisor, one member has all partitions', () => {
  const owners = ownersOf([channel('orders', 8), channel('payments', 9)], [member('a', NAMES), member('b', NAMES)])
  expect(new Set(owners.values()).size).toBe(1)
})

it('every member has a stripe if there are enough stripes', () => {
  const members = Array.from({ length: 8 }, (_, at) => member(`member-${at}`, NAMES))
  const owners = ownersOf([channel('orders', 16), channel('payments', 8)], members)
  for (const { name } of members) expect([...owners.values()].filter((owner) => owner === name)).toHaveLength(3)
})

it('a member that takes only some of the channels gets no stripe while another one takes all', () => {
  const owners = ownersOf(
    [channel('orders', 8), channel('payments', 8)],
    [member('old', ['orders']), member('new', ['orders', 'payments'])],
  )
  expect([...new Set(owners.values())]).toEqual(['new'])
})

it('if no member takes all channels, or one has an older version, each channel is shared out by itself', () => {
  const entries = [channel('orders', 8), channel('payments', 8)]
  const apart = ownersOf(entries, [member('a', ['orders']), member('b', ['payments'])])
  for (const [consumerLog, owner] of apart) expect(owner).toBe(consumerLog.includes('orders') ? 'a' : 'b')
  const mixed = stripesOf('worker', entries, [member('a', NAMES), member('b', NAMES, false)])
  expect(mixed).toHaveLength(16)
  for (const { parts } of mixed) expect(parts).toHaveLength(1)
})

it('a channel that no working member takes has no owner, and the other channels still share stripes', () => {
  const entries = NAMES.map((name) => channel(name, 4))
  const stripes = stripesOf('worker', entries, [member('a', ['orders', 'payments'])])
  expect(stripes.filter(({ owner }) => owner === 'a').map(({ parts }) => parts.length)).toEqual([2, 2, 2, 2])
  expect(stripes.filter(({ owner }) => owner === undefined).map(({ parts }) => parts[0]?.consumerLog)).toEqual(
    [0, 1, 2, 3].map((at) => `worker/refunds/${at}`),
  )
})
