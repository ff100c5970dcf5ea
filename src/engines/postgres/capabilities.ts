/** How this engine holds each clause on a Postgres. docs/engines/postgres.md says the same in words. */
import type { Capabilities, Capability } from '../../broker/capabilities.ts'

const native = (reason: string): Capability => ({ support: 'native', reason })
const emulated = (reason: string, cost: string): Capability => ({ support: 'emulated', reason, cost })

export function postgresCapabilities(durable: Capability, partitions: number): Capabilities {
  return {
    1: durable,
    2: emulated(
      `${partitions} partitions of a channel; a consumer log for each consumer and partition says which process owns it`,
      'a consumer log for each consumer and partition',
    ),
    3: emulated('a completion is an entry of a consumer log', 'a row for each group commit and partition'),
    4: emulated(
      'the key decides the partition; one process owns a partition and gives its keys one event at a time',
      'one process has a key in all streams of a consumer; between a queue and another channel, a key is one at a time only within a process',
    ),
    5: emulated('attempts are records of the consumer log', 'a row for each group commit and partition'),
    6: emulated(
      'dead letters are records of the consumer log; their texts are in tables for each consumer',
      'a dead letter, and an event that waits behind one, is written twice',
    ),
    7: emulated(
      'delayed events wait in a queue; its owner emits them when they are due',
      'a delayed event is written twice',
    ),
    8: native('an index of ids, read under the lock under which the event is stored'),
    9: native('offsets are positions in order of commit; a search over them finds a time'),
    10: native('the events that wait to be written are bounded; a read is limited in events and bytes by the server'),
    11: emulated(
      "a row of a consumer log is not inserted after another owner's row",
      'none: the fence is the primary key of the entries',
    ),
    12: emulated(
      'emissions are in the entry that completes their cause, and are then sent on with their ids, which are known for the length of the window',
      'an emission is written twice',
    ),
    13: native(
      'a floor that reads do not go below, raised within a second; tables below it are dropped; by key, the earlier event is deleted when the later one is stored',
    ),
    14: native('channels and consumer logs are rows and tables, created and removed at any time'),
    15: emulated('the owner of a partition filters', 'unwanted events cross the wire'),
    16: native('wildcards are matched in the registry of channels, which is read every second'),
    17: native('from the registry, the indexes of positions and the consumer logs'),
    18: native('the SQLSTATE of the server decides the typed error'),
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
