/**
 * Sharing out partitions: members have equal numbers, compute the same owners, and few partitions move when a member
 * comes or goes.
 */
import { expect, it } from 'vitest'
import type { ChannelEntry } from '../../src/external-log/log-backend.ts'
import { sharedOut } from '../../src/external-log/ownership/stripes.ts'

const channel = (partitions: number, name = 'orders') => ({ partitions, spec: { name } }) as ChannelEntry
const members = (count: number): string[] => Array.from({ length: count }, (_, at) => `member-${at}`)

it('no member is idle while another one has two partitions', () => {
  for (let partitions = 1; partitions <= 40; partitions++) {
    for (let count = 1; count <= 12; count++) {
      const owners = sharedOut('worker', channel(partitions), members(count))
      const loads = members(count).map((member) => owners.filter((owner) => owner === member).length)
      expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
      expect(loads.reduce((sum, load) => sum + load, 0)).toBe(partitions)
    }
  }
  expect(sharedOut('worker', channel(4), [])).toEqual([])
})

it('every member computes the same owners, in whatever order it sees the members', () => {
  const seen = members(7)
  expect(sharedOut('worker', channel(16), seen.toReversed())).toEqual(sharedOut('worker', channel(16), seen))
})

it('channels of one partition are spread over the members', () => {
  const owners = Array.from({ length: 200 }, (_, at) => sharedOut('worker', channel(1, `orders-${at}`), members(4))[0])
  for (const member of members(4)) expect(owners.filter((owner) => owner === member).length).toBeGreaterThan(20)
})

it('a new member takes its share, and most partitions stay with their owners', () => {
  const moved = Array.from({ length: 50 }, (_, at) => {
    const [before, after] = [4, 5].map((count) => sharedOut(`worker-${at}`, channel(64), members(count)))
    return before?.filter((owner, partition) => owner !== after?.[partition]).length ?? 0
  })
  // A fifth must move.
  expect(moved.reduce((sum, each) => sum + each, 0) / moved.length).toBeLessThan(64 * 0.4)
})
