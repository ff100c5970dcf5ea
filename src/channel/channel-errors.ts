/** What is wrong with a channel that was asked for: the same errors on every engine. */
import { MillraceError } from '../base/errors.ts'
import { didYouMean } from '../base/shown.ts'

const NAMES_MAX = 8

/** Nobody declared it: with the name that was probably meant, or some that there are. */
export function unknownChannel(name: string, declared: Iterable<string>): MillraceError {
  // Millrace's own channels are nobody's business.
  const names = [...declared].filter((each) => !each.startsWith('$'))
  return new MillraceError('UNKNOWN_CHANNEL', `channel "${name.slice(0, 200)}" is not declared: ${didYouMean(name, names) ?? thereAre(names)}`, {
    channel: name.slice(0, 200),
  })
}

function thereAre(names: readonly string[]): string {
  if (names.length === 0) return 'no channel has been declared'
  const some = names.slice(0, NAMES_MAX).map((name) => `"${name}"`)
  return `there are ${some.join(', ')}${names.length > NAMES_MAX ? ` and ${names.length - NAMES_MAX} more` : ''}`
}

export function offsetOutOfRange(channel: string, offset: number, first: number, next: number): MillraceError {
  return new MillraceError('OFFSET_OUT_OF_RANGE', `channel "${channel}" has offsets ${first} to ${next}; ${offset} is not one of them`, {
    channel,
    offset,
    first,
    next,
  })
}
