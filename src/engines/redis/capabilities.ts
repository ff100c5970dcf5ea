/** How this engine holds each clause on a Redis. docs/engines/redis.md says the same in words. */
import type { Capabilities, Capability } from '../../broker/capabilities.ts'

const native = (reason: string): Capability => ({ support: 'native', reason })
const emulated = (reason: string, cost: string): Capability => ({ support: 'emulated', reason, cost })

export function redisCapabilities(durable: Capability, partitions: number): Capabilities {
  return {
    1: durable,
    2: emulated(
      `a Redis stream for each of the ${partitions} partitions of a channel; a consumer log for each consumer and partition says which process owns it`,
      'a consumer log for each consumer and partition',
    ),
    3: emulated('a completion is an entry of a consumer log', 'an entry for each group commit and partition'),
    4: emulated(
      'the key decides the partition; one process owns a partition and gives its keys one event at a time',
      'one process has a key in all streams of a consumer; between a queue and another channel, a key is one at a time only within a process',
    ),
    5: emulated('attempts are records of the consumer log', 'an entry for each group commit and partition'),
    6: emulated(
      'dead letters are records of the consumer log; their texts are in streams for each consumer',
      'a dead letter, and an event that waits behind one, is written twice',
    ),
    7: emulated(
      'delayed events wait in a queue; its owner emits them when they are due',
      'a delayed event is written twice',
    ),
    8: native('a script looks up the id in a hash, and stores id and event together'),
    9: native('the ids of entries are made of offset and time; XRANGE reads between them'),
    10: native(
      'the events that wait to be written are bounded; at maxmemory, publishing fails with DISK_FULL and nothing is evicted',
    ),
    11: emulated(
      "an append to a consumer log is refused after another owner's entry",
      'none: the fence is the entry id that XADD requires',
    ),
    12: emulated(
      'emissions are in the entry that completes their cause, and are then sent on with their ids, which are known for the length of the window',
      'an emission is written twice',
    ),
    13: native(
      'XTRIM by offset: by count when an event is published, by age and bytes within a second; by key, XDEL of the earlier event',
    ),
    14: native('channels and consumer logs are keys, created and removed at any time'),
    15: emulated('the owner of a partition filters', 'unwanted events cross the wire'),
    16: native('wildcards are matched in the registry of channels, which is read every second'),
    17: native('from the registry, the streams and the consumer logs'),
    18: native('Redis’ error replies become typed errors'),
    19: { support: 'refused', reason: 'the engine over servers does not keep state yet; file: does' },
    20: emulated(
      'the next time of a schedule is a delayed event; the worker that handles it emits the event and the next time with its completion',
      'a time is written as a delayed event, and again when it is due',
    ),
    21: { support: 'refused', reason: 'the engine over servers has no limits that its processes share; file: does' },
    22: emulated(
      'a reply is an emission to the stream $replies, which keeps it for ten minutes',
      'a reply is written twice; a process that asks reads the replies to all processes',
    ),
  }
}
