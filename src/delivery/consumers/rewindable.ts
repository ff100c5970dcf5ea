/** A consumer can be rewound in the streams that it consumes, not in queues: a queue deletes events that are done. */
import { MillraceError } from '../../base/errors.ts'
import { unknownChannel } from '../../channel/channel-errors.ts'
import type { Home } from './homes.ts'

interface Rewind {
  readonly consumer: string
  /** The one channel to rewind; null for all. */
  readonly channel: string | null
  /** The names of all declared channels. */
  readonly declared: readonly string[]
}

/**
 * The homes of a consumer that a rewind moves.
 *
 * @throws UNKNOWN_CHANNEL · INVALID_OPTION when the consumer does not consume the channel, or there is no stream to
 * rewind
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
