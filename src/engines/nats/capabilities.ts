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
      `file storage, acknowledged after the sync if the servers run with sync_interval: always: not proved, as ${how}`,
    )
  return native(`file storage, sync_interval: always: ${how}`, 'a sync for each write, or for each batch of a channel')
}

export function natsCapabilities(known: Durable): Capabilities {
  return {
    1: durable(known),
    2: native('a stream for each channel, a consumer log for each consumer and partition'),
    3: native('completions are entries of a consumer log'),
    4: emulated(
      'partitions, each owned by one instance; lanes for keys in it',
      'a key keeps to the process that owns its partitions in all streams of a consumer; between a queue and another channel it is one at a time within a process',
    ),
    5: emulated('attempts are kept in the consumer log', 'part of the group commit'),
    6: emulated(
      'dead letters are in the consumer log, their texts in a stream for each consumer',
      'what is dead or waits behind it is written twice',
    ),
    7: emulated('a queue of its own, whose owner sends on what is due', 'a delayed event is written twice more'),
    8: native(
      'message ids and the stream’s duplicate window, by time',
      'a batch with a known id is written twice; ids are in the servers’ memory',
    ),
    9: native('by stream sequence and time'),
    10: native('acknowledged publishing, reading by count and bytes, flow control'),
    11: emulated('a consumer log’s expected last sequence is the fence', 'part of the group commit'),
    12: emulated(
      'emissions are in the consumer log’s entry, then sent on with their ids',
      'an emission is written twice; once within the duplicate window',
    ),
    13: native('the stream’s limits; the latest by key by subject'),
    14: native('streams come and go at any time'),
    15: emulated('filtered by the owner', 'what does not match crosses the wire'),
    16: emulated('streams are listed every second', 'a new channel is found within a second'),
    17: native('stream information, consumer logs and members’ notes'),
    18: native('JetStream’s error numbers become typed errors'),
  }
}
