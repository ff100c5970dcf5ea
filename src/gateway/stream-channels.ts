/**
 * Which channels an event stream has: those that are named, and those that its wildcards match.
 *
 * A wildcard stands for the channels that the caller may read, and for no others: the stream tells no name of another channel, nor how many there are.
 */
import { LIMITS } from '../base/limits.ts'
import { checkName, compileWildcard, isWildcard } from '../base/names.ts'
import { badRequest } from './problem.ts'

export class StreamChannels {
  /** Each is a channel that must be there. */
  readonly named: readonly string[]
  readonly #wildcards: readonly ((name: string) => boolean)[]
  readonly #mayRead: (channel: string) => boolean

  /** `text`: names and wildcards, with commas between. @throws INVALID_NAME · INVALID_REQUEST when there are too many */
  constructor(text: string, mayRead: (channel: string) => boolean) {
    const parts = [...new Set(text.split(','))]
    checkCount(parts.length)
    this.named = parts.filter((part) => !isWildcard(part)).map((name) => checkName(name, 'channel'))
    this.#wildcards = parts.filter(isWildcard).map(compileWildcard)
    this.#mayRead = mayRead
  }

  /** Channels may come and go while the stream is open. */
  get wild(): boolean {
    return this.#wildcards.length > 0
  }

  /** One channel, which needs no name in the stream. */
  get single(): boolean {
    return !this.wild && this.named.length === 1
  }

  /** Whether a channel of this name, if there is one, is in the stream. */
  has(channel: string): boolean {
    return (
      this.named.includes(channel) || (this.#wildcards.some((matches) => matches(channel)) && this.#mayRead(channel))
    )
  }

  /** Of the channels that there are, those that a wildcard adds. @throws INVALID_REQUEST when the stream has too many then */
  matched(there: readonly string[]): string[] {
    const found = there.filter((name) => !this.named.includes(name) && this.has(name))
    checkCount(this.named.length + found.length)
    return found
  }
}

function checkCount(count: number): void {
  if (count <= LIMITS.gatewayStreamChannelsMax) return
  const most = LIMITS.gatewayStreamChannelsMax
  throw badRequest(
    400,
    `an event stream has at most ${most} channels; these are ${count}: name fewer, or open several streams`,
    { channelsMax: most },
  )
}
