/** Where a consumer can be rewound: in the streams that it consumes. The same on every engine. */
import { MillraceError } from '../base/errors.ts'
import type { ChannelSpec } from '../channel/channel.ts'
import { unknownChannel } from '../channel/channel-errors.ts'

interface Rewind {
  readonly consumer: string
  /** Only there; `null` is everywhere. */
  readonly channel: string | null
  /** Names of all channels that are declared. */
  readonly declared: readonly string[]
}

/**
 * Those of a consumer's places that a rewind is about. In a queue nothing can be rewound: it forgets what is done.
 *
 * @throws UNKNOWN_CHANNEL · INVALID_OPTION when the consumer is not one of that channel, or there is no stream to rewind
 */
export function rewindable<Place>(
  places: readonly Place[],
  specOf: (place: Place) => Pick<ChannelSpec, 'name' | 'kind'>,
  { consumer, channel, declared }: Rewind,
): Place[] {
  const there = channel === null ? places : places.filter((place) => specOf(place).name === channel)
  if (channel !== null && there.length === 0) {
    if (!declared.includes(channel)) throw unknownChannel(channel, declared)
    const names = [...new Set(places.map((place) => `"${specOf(place).name}"`))].slice(0, 8).join(', ')
    throw new MillraceError('INVALID_OPTION', `consumer "${consumer}" cannot be rewound in channel "${channel}": it consumes ${names}`, {
      option: 'channel',
      consumer,
      channel,
    })
  }
  const streams = there.filter((place) => specOf(place).kind === 'stream')
  if (streams.length > 0) return streams
  const of = channel === null ? 'consumes queues only' : `consumes "${channel}", which is a queue`
  throw new MillraceError('INVALID_OPTION', `consumer "${consumer}" cannot be rewound: it ${of}, and a queue forgets what is done`, {
    option: 'channel',
    consumer,
  })
}
