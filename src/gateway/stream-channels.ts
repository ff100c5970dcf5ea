/**
 * The channels of an event stream: those that are named, and those that its wildcards match.
 *
 * A wildcard matches only channels that the caller may read. The stream reveals neither the names nor the number of
 * other channels.
 */
import { LIMITS } from '../base/limits.ts'
import { checkName, compileWildcard, isWildcard } from '../base/names.ts'
import { badRequest } from './problem.ts'

export class StreamChannels {
  /** Channels that must exist. */
  readonly named: readonly string[]
  readonly #wildcards: readonly ((name: string) => boolean)[]
  readonly #mayRead: (channel: string) => boolean

  /**
   * `text`: names and wildcards, separated by commas. @throws INVALID_NAME · INVALID_REQUEST when there are too many
   */
  constructor(text: string, mayRead: (channel: string) => boolean) {
    const parts = [...new Set(text.split(','))]
    checkCount(parts.length)
    this.named = parts.filter((part) => !isWildcard(part)).map((name) => checkName(name, 'channel'))
    this.#wildcards = parts.filter(isWildcard).map(compileWildcard)
    this.#mayRead = mayRead
  }

  /** Whether there are wildcards, so that channels can be added while the stream is open. */
  get wild(): boolean {
    return this.#wildcards.length > 0
  }

  /** Whether it is one named channel. The stream then needs no channel names. */
  get single(): boolean {
    return !this.wild && this.named.length === 1
  }

  /** Whether a channel of this name, if it exists, is in the stream. */
  has(channel: string): boolean {
    return (
      this.named.includes(channel) || (this.#wildcards.some((matches) => matches(channel)) && this.#mayRead(channel))
    )
  }

  /** The existing channels that a wildcard adds. @throws INVALID_REQUEST when the stream then has too many */
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
