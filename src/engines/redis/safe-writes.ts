/**
 * Writes that are acknowledged. A server whose settings are weaker than promised is not written to. If the server has
 * to be asked, each write is followed by a wait for its disk or its replicas (WAITAOF, WAIT).
 */

import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Durability } from './durability.ts'
import type { Argument } from './redis-client.ts'
import type { Command, RedisLink } from './redis-link.ts'
import type { Script } from './scripts.ts'

export class SafeWrites {
  readonly #link: RedisLink
  /** What was found when the connection was made. An error means that the server must not be written to. */
  durability: Durability | MillraceError

  constructor(link: RedisLink, durability: Durability) {
    this.#link = link
    this.durability = durability
  }

  async run(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    doing: string,
    again: boolean,
  ): Promise<unknown> {
    this.#may()
    const answer = this.#link.run(script, keys, args, doing, { again })
    return this.#waited(answer, doing)
  }

  async call(command: Command, doing: string, again: boolean): Promise<unknown> {
    this.#may()
    return this.#waited(this.#link.call(command, doing, { again }), doing)
  }

  #may(): void {
    if (this.durability instanceof MillraceError) throw this.durability
  }

  async #waited(answer: Promise<unknown>, doing: string): Promise<unknown> {
    const { wait } = this.durability as Durability
    if (wait === null) return answer
    const said = await answer
    const { command, local, replicas } = wait
    const reply = await this.#link.call(
      command === 'WAIT'
        ? ['WAIT', replicas, LIMITS.serverAnswerMs]
        : ['WAITAOF', local, replicas, LIMITS.serverAnswerMs],
      `waiting for disks and replicas after ${doing}`,
      { again: false },
    )
    const [onDisk, onReplicas] = command === 'WAIT' ? [0, Number(reply)] : (reply as [number, number])
    if (onDisk >= local && onReplicas >= replicas) return said
    const message = `redis: ${doing}: within ${LIMITS.serverAnswerMs} ms only ${onReplicas} of ${replicas} replicas and ${onDisk} of ${local} disks had the write: it may be stored, but is not acknowledged`
    throw new MillraceError('UNAVAILABLE', message, { engine: 'redis', replicas: onReplicas, disks: onDisk })
  }
}
