/**
 * Consumer logs: a stream each, whose ids are versions. The conditional append is a feature of Redis: XADD with the id
 * after the expected version is refused if a later entry exists, and with NOMKSTREAM if the consumer log is gone.
 */
import { MillraceError } from '../../base/errors.ts'
import { type ConsumerLogContent, Fenced } from '../../external-log/log-backend.ts'
import type { Keys } from './keys.ts'
import type { RedisLink } from './redis-link.ts'
import type { SafeWrites } from './safe-writes.ts'
import { BEGIN_CONSUMER_LOG } from './scripts.ts'

const READ_TOGETHER = 200

export class ConsumerLogStreams {
  readonly #keys: Keys
  readonly #link: RedisLink
  readonly #writes: SafeWrites

  constructor(keys: Keys, link: RedisLink, writes: SafeWrites) {
    this.#keys = keys
    this.#link = link
    this.#writes = writes
  }

  async read(id: string): Promise<ConsumerLogContent> {
    const entries: Uint8Array[] = []
    let version = 0
    for (let from = '-'; ; ) {
      const command = ['XRANGE', this.#keys.consumerLog(id), from, '+', 'COUNT', READ_TOGETHER] as const
      const found = (await this.#link.call(command, 'reading a consumer log', { buffers: true })) as [
        Buffer,
        [Buffer, Buffer],
      ][]
      for (const [, [, entry]] of found) entries.push(entry)
      const last = found.at(-1)
      if (last === undefined) break
      version = Number.parseInt(String(last[0]), 10)
      if (found.length < READ_TOGETHER) break
      from = `(${last[0]}`
    }
    return { entries, version }
  }

  /** @throws Fenced */
  async append(id: string, expected: number, entry: Uint8Array): Promise<number> {
    const key = this.#keys.consumerLog(id)
    const bytes = Buffer.from(entry.buffer, entry.byteOffset, entry.byteLength)
    try {
      if (expected === 0)
        return (await this.#writes.run(
          BEGIN_CONSUMER_LOG,
          [key, this.#keys.consumerLogs],
          [id, bytes],
          'beginning a consumer log',
          false,
        )) as number
      const written = await this.#writes.call(
        ['XADD', key, 'NOMKSTREAM', `${expected + 1}-0`, 'e', bytes],
        'writing a consumer log',
        false,
      )
      if (written === null) throw new Fenced(id)
      return expected + 1
    } catch (error) {
      if (error instanceof MillraceError && /FENCED|equal or smaller/.test(String(error.details['answer'])))
        throw new Fenced(id)
      throw error
    }
  }

  async trim(id: string, before: number): Promise<void> {
    await this.#link.call(['XTRIM', this.#keys.consumerLog(id), 'MINID', `${before}-0`], 'trimming a consumer log')
  }

  async ids(): Promise<string[]> {
    return (await this.#link.call(['SMEMBERS', this.#keys.consumerLogs], 'listing consumer logs')) as string[]
  }

  async remove(id: string): Promise<void> {
    await Promise.all([
      this.#link.call(['UNLINK', this.#keys.consumerLog(id)], 'removing a consumer log'),
      this.#link.call(['SREM', this.#keys.consumerLogs, id], 'removing a consumer log'),
    ])
  }
}
