/** How this engine holds each clause on a Redis. docs/engines/redis.md says the same in words. */
import type { Capabilities, Capability } from '../../broker/capabilities.ts'

const native = (reason: string): Capability => ({ support: 'native', reason })
const emulated = (reason: string, cost: string): Capability => ({ support: 'emulated', reason, cost })

export function redisCapabilities(durable: Capability, partitions: number): Capabilities {
  return {
    1: durable,
    2: emulated(
      `a stream of Redis for each of a channel's ${partitions} partitions; instances own partitions`,
      'a consumer log for each consumer and partition',
    ),
    3: emulated(
      'a completion is an entry of a consumer log, written by the owner of its partition',
      'an entry a group commit and partition',
    ),
    4: emulated(
      'events of a key are in one partition, in order; its owner has a lane for each key',
      'one owner a partition, and a key over all streams of a consumer; between a queue and another channel a key is one at a time within a process',
    ),
    5: emulated('attempts are records of the consumer log', 'an entry a group commit and partition'),
    6: emulated(
      'dead letters are in the consumer log, their texts in streams for each consumer',
      'what is dead or waits behind it is written twice',
    ),
    7: emulated(
      'what waits for its time is in a queue of its own, from which a consumer emits what is due',
      'a second write an event',
    ),
    8: native('a script looks the id up in two generations of a hash, and stores id and event together'),
    9: native('ids of entries carry offset and time; what lies between is read by XRANGE'),
    10: native('a call is bounded; where maxmemory is reached, publishing fails with DISK_FULL and nothing is evicted'),
    11: emulated(
      "a consumer log's next entry is refused once another owner has written",
      'none: the fence is the id that XADD asks for',
    ),
    12: emulated(
      'emissions are in the entry that completes their cause, and are sent on by their ids, known for the length of the window',
      'emissions are written twice',
    ),
    13: native('XTRIM by offset: by count at publishing, by age and bytes within a second; by key, XDEL of the former'),
    14: native('channels, consumers and instances are keys, and come and go at any time'),
    15: emulated('the owner of a partition filters', 'unwanted events cross the wire'),
    16: native('wildcards are matched in the registry of channels, which is looked at each second'),
    17: native('read from the registry, the streams and the consumer logs'),
    18: native('typed errors'),
  }
}
