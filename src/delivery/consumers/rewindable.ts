/** Where a consumer can be rewound: in the streams that it consumes. The same on every engine. */
import { MillraceError } from '../../base/errors.ts'
import { unknownChannel } from '../../channel/channel-errors.ts'
import type { Home } from './homes.ts'

interface Rewind {
  readonly consumer: string
  /** Only there; `null` is everywhere. */
  readonly channel: string | null
  /** Names of all channels that are declared. */
  readonly declared: readonly string[]
}

/**
 * Those of a consumer's homes that a rewind is about. In a queue nothing can be rewound: it forgets what is done.
 *
 * @throws UNKNOWN_CHANNEL · INVALID_OPTION when the consumer is not one of that channel, or there is no stream to rewind
 */
export function rewindable<H extends Home>(homes: readonly H[], { consumer, channel, declared }: Rewind): H[] {
  if (homes.length === 0 && channel === null)
    throw new MillraceError('INVALID_OPTION', `consumer "${consumer}" cannot be rewound: it has no channel now`, {
      option: 'channel',
      consumer,
    })
  const there = channel === null ? homes : homes.filter((home) => home.channel.name === channel)
  if (channel !== null && there.length === 0) {
    if (!declared.includes(channel)) throw unknownChannel(channel, declared)
    const names = [...new Set(homes.map((home) => `"${home.channel.name}"`))].slice(0, 8).join(', ') || 'no channel now'
    throw new MillraceError(
      'INVALID_OPTION',
      `consumer "${consumer}" cannot be rewound in channel "${channel}": it consumes ${names}`,
      {
        option: 'channel',
        consumer,
        channel,
      },
    )
  }
  const streams = there.filter((home) => home.channel.kind === 'stream')
  if (streams.length > 0) return streams
  const of = channel === null ? 'consumes queues only' : `consumes "${channel}", which is a queue`
  throw new MillraceError(
    'INVALID_OPTION',
    `consumer "${consumer}" cannot be rewound: it ${of}, and a queue does not keep events that are done`,
    {
      option: 'channel',
      consumer,
    },
  )
}
