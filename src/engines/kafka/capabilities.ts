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
      'acks=all, min.insync.replicas=2 (asked for by durable=replicated): a batch is in the memory of two brokers before it is acknowledged; it survives the death of one, not a power cut of all',
  },
}

export function kafkaCapabilities(durability: Durability): Capabilities {
  return {
    1: DURABLE[durability],
    2: {
      support: 'emulated',
      reason: 'partitions within the topic, each owned by one instance of a consumer by its consumer log',
      cost: 'each process reads the whole topic',
    },
    3: {
      support: 'emulated',
      reason: 'what is done is in the consumer log of the partition, in a topic of the consumer’s own',
    },
    4: {
      support: 'emulated',
      reason:
        'the key decides the partition, lanes of keys work within it; order over all keys is kept too: a topic has one Kafka partition',
      cost: 'one owner of a key over all streams of a consumer; between a queue and another channel a key is one at a time within a process',
    },
    5: { support: 'emulated', reason: 'attempts and their times are in the consumer log' },
    6: {
      support: 'emulated',
      reason: 'dead letters are in the consumer log, their texts in a topic for each consumer',
      cost: 'what is dead or waits behind it is written twice',
    },
    7: {
      support: 'emulated',
      reason: 'a queue of events that wait, __millrace.schedule, and a consumer that emits them when due',
      cost: 'an event is written twice',
    },
    8: {
      support: 'emulated',
      reason:
        'writers read back the window and follow the log; of two that wrote one id at once the first in the log stays, and every reader passes over the other',
      cost: 'a process that publishes reads what others publish to the channel; dedupe: false saves it',
    },
    9: { support: 'native', reason: 'offsets and times of the topic are those of the channel' },
    10: { support: 'native', reason: 'a log; what waits to be written is bounded' },
    11: {
      support: 'emulated',
      reason:
        'whoever writes the next version of a consumer log owns it; what a former owner writes is nothing to every reader',
    },
    12: {
      support: 'emulated',
      reason: 'emissions stand in the consumer log entry of the completion, and are sent on with their ids',
      cost: 'an emission is written twice',
    },
    13: {
      support: 'native',
      reason:
        'retention.ms and compaction; limits by count and bytes, and the exact moment, are kept by what readers are shown and by DeleteRecords',
      cost: 'streams limited by bytes or kept by key are read whole once by each process that reads them',
    },
    14: { support: 'native', reason: 'topics and consumer logs come and go' },
    15: {
      support: 'emulated',
      reason: 'matched where the event is delivered',
      cost: 'events that nobody wants cross the wire',
    },
    16: { support: 'emulated', reason: 'a registry topic says which channels exist; it is looked at each second' },
    17: {
      support: 'emulated',
      reason: 'from the registry, the consumer logs and the members’ notes',
      cost: 'lag of more than 20,000 events in a partition is estimated',
    },
    18: { support: 'native', reason: 'the protocol’s error codes' },
  }
}
