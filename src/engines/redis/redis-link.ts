/**
 * One connection for the backend. Commands of one turn of the event loop go out together. A command waits a bounded
 * time while the connection is down. A connection that hangs is made again.
 *
 * A command that was under way when the connection broke may have taken effect. Commands that may be repeated (`again`)
 * are repeated; others are rejected.
 */

import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { type Attempt, patiently } from '../../external-log/backend/patience.ts'
import type { Argument, Client, Connector } from './redis-client.ts'
import { isConnectionFault, redisError } from './redis-errors.ts'
import type { Script } from './scripts.ts'

const WATCH_MS = 500
/** Calls wait for a connection in the link, so a short pause before the next attempt is enough. */
const WAIT_MS_MAX = 50

export type Command = readonly [name: string, ...args: Argument[]]

interface QueuedCommand {
  readonly command: Command
  readonly buffers: boolean
  readonly resolve: (answer: unknown) => void
  readonly reject: (error: Error) => void
}

export interface CallOptions {
  /** Whether the command may be repeated. @default true */
  readonly again?: boolean
  /** Whether the answer is bytes. @default false */
  readonly buffers?: boolean
}

/** Called when the connection is lost, and with null when it is made again. */
export type OnState = (lost: MillraceError | null) => void

export class RedisLink {
  readonly client: Client
  readonly #name: string
  #waiting: QueuedCommand[] = []
  #ready: Promise<void> = Promise.resolve()
  #becameReady: () => void = () => undefined
  #lastError: Error | null = null
  /** Why this connection is not in the database of the URL. It must not be used. */
  #wrongDatabase: Error | null = null
  #opened = false
  #up = true
  #lost = false
  #closed = false
  #underWay = 0
  #lastAnswerMs = 0
  #silent = false
  readonly #watch: NodeJS.Timeout

  private constructor(connector: Connector, name: string, onState: OnState) {
    this.#name = name
    this.client = connector()
    this.#down()
    this.client.on('ready', () => {
      // The client continues in database 0, where another application may have the same prefix.
      if (this.#wrongDatabase !== null) return this.#reject()
      this.#up = true
      this.#becameReady()
      if (this.#lost) onState(null)
      this.#lost = false
    })
    this.client.on('close', () => {
      this.#wrongDatabase = null
      this.#down()
      if (!this.#opened || this.#closed || this.#lost) return
      this.#lost = true
      onState(this.#unavailable('the connection was lost; connecting again'))
    })
    this.client.on('error', (error) => {
      this.#lastError = error
      if (error.command?.name === 'select') this.#wrongDatabase = error
    })
    this.#watch = setInterval(() => this.#look(), WATCH_MS)
    this.#watch.unref()
  }

  /** @throws UNAVAILABLE · UNAUTHENTICATED when it cannot be made the first time */
  static async open(connector: Connector, name: string, onState: OnState = () => undefined): Promise<RedisLink> {
    const link = new RedisLink(connector, name, onState)
    try {
      await link.client.connect()
      if (link.#wrongDatabase !== null) throw link.#wrongDatabase
    } catch (error) {
      link.close()
      // The message "Connection is closed." does not say why.
      throw redisError(link.#lastError ?? error, `connecting to ${name}`)
    }
    link.#opened = true
    return link
  }

  /** Make the connection again after a moment. It may then lead to another server. */
  #reject(): void {
    setTimeout(() => this.#closed || this.client.disconnect(true), WATCH_MS).unref()
  }

  /** Commands that wait already keep waiting for the same promise. */
  #down(): void {
    if (!this.#up) return
    this.#up = false
    this.#ready = new Promise((resolve) => {
      this.#becameReady = resolve
    })
  }

  #unavailable(what: string): MillraceError {
    const why = this.#lastError === null ? '' : `: ${this.#lastError.message}`
    return new MillraceError(
      'UNAVAILABLE',
      `redis: ${this.#name}: ${what}${why}`,
      { engine: 'redis' },
      { cause: this.#lastError },
    )
  }

  /** Send a command. @throws UNAVAILABLE · DISK_FULL · FORBIDDEN · STORE_FAILED */
  async call(command: Command, doing: string, options: CallOptions = {}): Promise<unknown> {
    try {
      return await this.#persist(() => this.#send(command, options.buffers === true), options.again !== false)
    } catch (error) {
      throw redisError(error, doing)
    }
  }

  /** Run a script. */
  async run(
    script: Script,
    keys: readonly string[],
    args: readonly Argument[],
    doing: string,
    options: CallOptions = {},
  ): Promise<unknown> {
    const work = async (): Promise<unknown> => {
      try {
        return await this.#send(['EVALSHA', script.sha, keys.length, ...keys, ...args], options.buffers === true)
      } catch (error) {
        if (!(error as Error).message.startsWith('NOSCRIPT')) throw error
        return this.#send(['EVAL', script.source, keys.length, ...keys, ...args], options.buffers === true)
      }
    }
    try {
      return await this.#persist(work, options.again !== false)
    } catch (error) {
      throw redisError(error, doing)
    }
  }

  #persist<T>(work: () => Promise<T>, again: boolean): Promise<T> {
    const attempt = async ({ deadlineMs }: Attempt): Promise<T> => {
      await this.#untilReady(deadlineMs)
      return work()
    }
    return patiently(attempt, {
      patienceMs: LIMITS.brokerPatienceMs,
      waitMsMax: WAIT_MS_MAX,
      isPassing: (error) => {
        const refused = /isn't writeable|^LOADING /.test((error as Error).message)
        return !this.#closed && isConnectionFault(error) && (again || refused)
      },
      givenUp: (error) => error,
    })
  }

  async #untilReady(deadline: number): Promise<void> {
    if (this.#closed) throw new MillraceError('CLOSED', 'the broker is closed: connect again')
    if (this.#up && this.client.status === 'ready') return
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(true), Math.max(0, deadline - performance.now()))
    })
    const tooLate = await Promise.race([this.#ready.then(() => false), late])
    clearTimeout(timer)
    if (this.#closed) throw new MillraceError('CLOSED', 'the broker is closed: connect again')
    if (tooLate) throw this.#unavailable(`no connection for ${LIMITS.brokerPatienceMs} ms`)
  }

  #send(command: Command, buffers: boolean): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ command, buffers, resolve, reject })
      if (this.#waiting.length === 1) process.nextTick(() => this.#flush())
    })
  }

  /** Send everything that waits in one write. */
  #flush(): void {
    const waiting = this.#waiting
    this.#waiting = []
    const pipeline = this.client.pipeline()
    for (const { command, buffers } of waiting) {
      const [name, ...args] = command
      if (buffers) pipeline.callBuffer(name, ...args)
      else pipeline.call(name, ...args)
    }
    if (this.#underWay++ === 0) this.#lastAnswerMs = performance.now()
    pipeline.exec().then(
      (answers) => {
        this.#answered()
        for (const [at, { resolve, reject }] of waiting.entries()) {
          const [error, answer] = answers?.[at] ?? [new Error('no answer'), null]
          if (error === null) resolve(answer)
          else reject(error)
        }
      },
      (error: unknown) => {
        this.#answered()
        for (const { reject } of waiting) reject(error as Error)
      },
    )
  }

  #answered(): void {
    this.#underWay--
    this.#lastAnswerMs = performance.now()
    this.#silent = false
  }

  /** A server that takes commands and answers none hangs, or is gone without a notice. */
  #look(): void {
    const late = this.#underWay > 0 && performance.now() - this.#lastAnswerMs > LIMITS.serverAnswerMs
    // It must be seen twice, because this process may have stood still.
    if (late && this.#silent) {
      this.#lastError = new Error(`the server has answered nothing for ${LIMITS.serverAnswerMs} ms`)
      this.#lastAnswerMs = performance.now()
      this.client.disconnect(true)
    }
    this.#silent = late
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#watch)
    this.#becameReady()
    this.client.disconnect()
  }
}
