/**
 * What a caller sees of stored events: in channels whose sensitive fields the caller may not see, they are masked, also
 * where a dead letter's key and error quote them.
 */
import { LIMITS } from '../base/limits.ts'
import { ChannelMask } from '../channel/channel-mask.ts'
import type { DeadLetter } from './description.ts'
import type { Engine, EngineReadOptions, StoredText } from './engine.ts'
import type { Failure } from './failure.ts'

/** Whether the caller may see the sensitive fields of a channel's events. */
export type MaySee = (channel: string) => boolean

export const seesAll: MaySee = () => true

type Read = Pick<Engine, 'read' | 'channel' | 'clock'>

/** The mask for a channel's events; null where this caller sees them whole. */
export async function maskFor(engine: Read, channel: string, maySee: MaySee): Promise<ChannelMask | null> {
  if (maySee(channel)) return null
  const spec = await engine.channel(channel)
  return spec === undefined ? null : ChannelMask.of(spec)
}

/** As the engine reads, with masks. A schema that is declared while the read goes on applies within a second. */
export async function* readSeen(
  engine: Read,
  channel: string,
  options: EngineReadOptions,
  maySee: MaySee,
): AsyncGenerator<readonly StoredText[]> {
  if (maySee(channel)) return yield* engine.read(channel, options)
  let mask = await maskFor(engine, channel, maySee)
  let lookedMs = engine.clock.elapsed()
  for await (const batch of engine.read(channel, options)) {
    if (engine.clock.elapsed() - lookedMs > LIMITS.sensitiveLookMs) {
      mask = await maskFor(engine, channel, maySee)
      lookedMs = engine.clock.elapsed()
    }
    yield mask === null ? batch : batch.map((event) => seenText(event, mask as ChannelMask))
  }
}

/** An event as a caller sees it to whom this mask applies. */
export function seenText(event: StoredText, mask: ChannelMask): StoredText {
  const { masked, text, redact } = mask.event(event.type, event.text)
  if (!masked) return event
  const { id, type, offset, timeMs, key } = event
  return { id, type, key: redact(key), text, offset, timeMs }
}

export async function seenLetters(
  engine: Read,
  letters: readonly DeadLetter[],
  maySee: MaySee,
): Promise<readonly DeadLetter[]> {
  const masks = new Map<string, ChannelMask | null>()
  for (const { channel } of letters) if (!masks.has(channel)) masks.set(channel, await maskFor(engine, channel, maySee))
  return letters.map((letter) => {
    const mask = masks.get(letter.channel) ?? null
    if (mask === null) return letter
    const { text, redact } = mask.event(letter.type, letter.text)
    return { ...letter, text, key: redact(letter.key), failure: seenFailure(letter.failure, redact) }
  })
}

/**
 * Whether the caller may not see what an error of these channels quotes: one of them has sensitive fields. For errors
 * whose event is not known.
 */
export async function hidesErrors(engine: Read, channels: Iterable<string>, maySee: MaySee): Promise<boolean> {
  for (const channel of channels) if ((await maskFor(engine, channel, maySee)) !== null) return true
  return false
}

/** A failure whose texts quote no masked value. */
export function seenFailure(failure: Failure, redact: <Text extends string | null>(text: Text) => Text): Failure {
  const { message, stack } = failure
  return { ...failure, message: redact(message), ...(stack !== undefined && { stack: redact(stack) }) }
}
