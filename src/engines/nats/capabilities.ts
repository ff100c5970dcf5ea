/** How NATS JetStream holds each clause, for this connection. */
import type { Capabilities, Capability } from '../../broker/capabilities.ts'
import type { Durable } from './server-check.ts'

const native = (reason: string, cost?: string): Capability => ({
  support: 'native',
  reason,
  ...(cost !== undefined && { cost }),
})
const emulated = (reason: string, cost: string): Capability => ({ support: 'emulated', reason, cost })

function durable({ known, how }: Durable): Capability {
  if (known === 'weaker')
    return { support: 'refused', reason: `${how}: a power cut may take back what the servers have acknowledged` }
  if (known === 'unknown')
    return native(
      `file storage; the servers acknowledge after the sync if they run with sync_interval: always; this is not proved: ${how}`,
    )
  return native(`file storage, sync_interval: always: ${how}`, 'a sync for each write, or for each batch of a channel')
}

export function natsCapabilities(known: Durable): Capabilities {
  return {
    1: durable(known),
    2: native('a stream for each channel, a consumer log for each consumer and partition'),
    3: native('a completion is an entry of a consumer log'),
    4: emulated(
      'the key decides the partition; one process owns a partition and gives its keys one event at a time',
      'one process has a key in all streams of a consumer; between a queue and another channel, a key is one at a time only within a process',
    ),
    5: emulated('attempts are records of the consumer log', 'part of the group commit'),
    6: emulated(
      'dead letters are records of the consumer log; their texts are in a stream for each consumer',
      'a dead letter, and an event that waits behind one, is written twice',
    ),
    7: emulated(
      'delayed events wait in a queue; its owner emits them when they are due',
      'a delayed event is written two more times',
    ),
    8: native(
      'message ids and the stream’s duplicate window, by time',
      'a batch with a known id is sent twice; the servers keep the ids in memory',
    ),
    9: native('by stream sequence and time'),
    10: native('acknowledged publishing, reads limited by count and bytes, flow control'),
    11: emulated('the expected last sequence of a consumer log is the fence', 'part of the group commit'),
    12: emulated(
      'emissions are in the entry that completes their cause, and are then sent on with their ids',
      'an emission is written twice; it is stored once within the duplicate window',
    ),
    13: native('the limits of the stream; the latest event of each key by subject'),
    14: native('streams are created and removed at any time'),
    15: emulated('the owner of a partition filters', 'unwanted events cross the wire'),
    16: emulated('the streams are listed every second', 'a new channel is found within a second'),
    17: native('from the streams, the consumer logs and the heartbeats of members'),
    18: native('JetStream’s error numbers become typed errors'),
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
