/**
 * The channel that holds the state of a consumer (clause 19): a stream that keeps the latest event of each key. A
 * completion that changes the state emits such an event, so state, completion and emissions are one commit.
 *
 * The type of its events is the channel's name; `dataversion` is the version of the state. A key whose state is deleted
 * has an event of `STATE_DELETED`, which is removed later.
 */
import { MillraceError } from '../base/errors.ts'
import { isStateChannel, stateChannelOf } from '../base/names.ts'
import type { ChannelSpec } from './channel.ts'

/** The type of the event that deletes the state of a key. */
export const STATE_DELETED = 'millrace.state.deleted'

export function stateChannelSpec(consumer: string, eventBytesMax: number): ChannelSpec {
  const name = stateChannelOf(consumer)
  return {
    name,
    kind: 'stream',
    types: [STATE_DELETED, name].sort(),
    retain: { ageMs: null, bytes: null, count: null, latestByKey: true },
    dedupe: null,
    eventBytesMax,
  }
}

/** Refuses a channel of state where applications name a channel to publish to, or to remove. @throws FORBIDDEN */
export function refuseStateChannel(channel: string, advice: string = 'publish to another channel'): void {
  if (!isStateChannel(channel)) return
  const consumer = channel.slice(stateChannelOf('').length)
  throw new MillraceError(
    'FORBIDDEN',
    `channel "${channel}" holds the state of consumer "${consumer}", and only its handlers change it, with ctx.setState: ${advice}`,
    { channel },
  )
}
