/** Errors about a channel, the same on every engine. */
import { type ErrorDetails, MillraceError } from '../base/errors.ts'
import { didYouMean } from '../base/shown.ts'

const NAMES_MAX = 8

/** The channel is not declared. The message suggests the name that was probably meant, or lists some channels. */
export function unknownChannel(name: string, declared: Iterable<string>): MillraceError {
  // Millrace's own channels are not suggested.
  const names = [...declared].filter((each) => !each.startsWith('$'))
  return new MillraceError(
    'UNKNOWN_CHANNEL',
    `channel "${name.slice(0, 200)}" is not declared: ${didYouMean(name, names) ?? thereAre(names)}`,
    {
      channel: name.slice(0, 200),
    },
  )
}

function thereAre(names: readonly string[]): string {
  if (names.length === 0) return 'no channel has been declared'
  const some = names.slice(0, NAMES_MAX).map((name) => `"${name}"`)
  return `there are ${some.join(', ')}${names.length > NAMES_MAX ? ` and ${names.length - NAMES_MAX} more` : ''}`
}

export function offsetOutOfRange(channel: string, offset: number, first: number, next: number): MillraceError {
  return new MillraceError(
    'OFFSET_OUT_OF_RANGE',
    `channel "${channel}" has offsets ${first} to ${next}; ${offset} is not one of them`,
    {
      channel,
      offset,
      first,
      next,
    },
  )
}

const TYPES_SHOWN = 8

/**
 * `refusal`, followed by the type that was probably meant, or by some of the types that the channel (or the consumer's
 * channels) carry.
 */
export function typeNotCarried(
  refusal: string,
  type: unknown,
  types: readonly string[],
  facts: ErrorDetails,
): MillraceError {
  const meant = typeof type === 'string' ? didYouMean(type, types) : undefined
  const more = types.length > TYPES_SHOWN ? ` and ${types.length - TYPES_SHOWN} more` : ''
  const carried =
    types.length === 0 ? 'no type is carried' : `use one of ${types.slice(0, TYPES_SHOWN).join(', ')}${more}`
  return new MillraceError('TYPE_NOT_CARRIED', `${refusal}: ${meant ?? carried}`, { ...facts, type, types })
}
