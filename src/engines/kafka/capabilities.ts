/** How Kafka holds each clause, and what the engine builds from its parts. */
import type { Capabilities } from '../../broker/capabilities.ts'
import type { Durability } from './topic-plans.ts'

const DURABLE: Readonly<Record<Durability, Capabilities[1]>> = {
  synced: {
    support: 'native',
    reason:
      'acks=all, and topics with flush.messages=1: a batch is on the disk of every in-sync replica before it is acknowledged',
    cost: 'a sync for each batch, on each replica',
  },
  replicated: {
    support: 'native',
    reason:
      'acks=all, min.insync.replicas=2 (durable=replicated): a batch is in the memory of two brokers before it is acknowledged; it survives the death of one broker, but not a power cut of all',
  },
}

const SCHEDULES: Capabilities[20] = {
  support: 'emulated',
  reason:
    'the next time of a schedule is a delayed event; the worker that handles it emits the event and the next time with its completion',
  cost: 'a time is written as a delayed event, and again when it is due; each function has a topic for its times',
}

const REPLIES: Capabilities[22] = {
  support: 'emulated',
  reason: 'a reply is an emission to the stream $replies, which keeps it for ten minutes',
  cost: 'a reply is written twice; a process that asks reads the replies to all processes',
}

const REFUSED: Pick<Capabilities, 19 | 21> = {
  19: { support: 'refused', reason: 'the engine over servers does not keep state yet; file: does' },
  21: { support: 'refused', reason: 'the engine over servers has no limits that its processes share; file: does' },
}

export function kafkaCapabilities(durability: Durability): Capabilities {
  return {
    1: DURABLE[durability],
    2: {
      support: 'emulated',
      reason: 'partitions within the topic; the consumer log of a partition says which process owns it',
      cost: 'each process reads the whole topic',
    },
    3: {
      support: 'emulated',
      reason: 'a completion is an entry of the partition’s consumer log, in a topic for each consumer',
    },
    4: {
      support: 'emulated',
      reason:
        'the key decides the partition; one process owns a partition and gives its keys one event at a time; a topic has one Kafka partition, so the order over all keys is kept, too',
      cost: 'one process has a key in all streams of a consumer; between a queue and another channel, a key is one at a time only within a process',
    },
    5: { support: 'emulated', reason: 'attempts and their times are records of the consumer log' },
    6: {
      support: 'emulated',
      reason: 'dead letters are records of the consumer log; their texts are in a topic for each consumer',
      cost: 'a dead letter, and an event that waits behind one, is written twice',
    },
    7: {
      support: 'emulated',
      reason: 'delayed events wait in a queue (__millrace.schedule); its owner emits them when they are due',
      cost: 'a delayed event is written twice',
    },
    8: {
      support: 'emulated',
      reason:
        'writers read back the window and follow the log; if two write an id at once, the first in the log is the event, and every reader skips the other',
      cost: 'a process that publishes reads what others publish to the channel, unless dedupe: false',
    },
    9: { support: 'native', reason: 'the offsets and times of the topic are those of the channel' },
    10: { support: 'native', reason: 'consumers read from a log; the events that wait to be written are bounded' },
    11: {
      support: 'emulated',
      reason:
        'the process that writes the next version of a consumer log owns the partition; entries of former owners have no effect for any reader',
    },
    12: {
      support: 'emulated',
      reason: 'emissions are in the entry that completes their cause, and are then sent on with their ids',
      cost: 'an emission is written twice',
    },
    13: {
      support: 'native',
      reason: 'retention.ms and compaction; readers skip events beyond a limit exactly, and DeleteRecords deletes them',
      cost: 'each process that reads a stream limited by bytes or by key reads it as a whole once',
    },
    14: { support: 'native', reason: 'topics and consumer logs are created and removed at any time' },
    15: {
      support: 'emulated',
      reason: 'the owner of a partition filters',
      cost: 'unwanted events cross the wire',
    },
    16: { support: 'emulated', reason: 'a topic holds the registry of channels; it is read every second' },
    17: {
      support: 'emulated',
      reason: 'from the registry, the consumer logs and the heartbeats of members',
      cost: 'a lag of more than 20,000 events in a partition is estimated',
    },
    18: { support: 'native', reason: 'the protocol’s error codes become typed errors' },
    ...REFUSED,
    20: SCHEDULES,
    22: REPLIES,
  }
}
