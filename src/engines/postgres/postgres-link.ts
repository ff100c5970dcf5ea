/**
 * The connections of the backend, without the one that listens. A call is one statement and one transaction. It waits a
 * bounded time while the server is away. A connection that hangs is given up.
 *
 * A statement that was under way when its connection broke may have taken effect. Statements that may be repeated
 * (`again`) are repeated; others are rejected.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { patiently } from '../../external-log/backend/patience.ts'
import { type Cell, type Connector, type Pool, type PooledClient, queryOf, type Value } from './postgres-client.ts'
import { isConnectionFault, mayPass, postgresError } from './postgres-errors.ts'

const PROBE_MS = 200
const CLOSE_MS = 500

export type Rows = readonly (readonly Cell[])[]

export interface CallOptions {
  /** Whether the statement may be repeated when it is not known whether it took effect. @default true */
  readonly again?: boolean
}

/** Called when the server is lost (with the error), and when it answers again (null). */
export type OnState = (lost: MillraceError | null) => void

/** A failure, and whether the statement was on its way to the server. */
class Failed {
  readonly error: unknown
  readonly sent: boolean

  constructor(error: unknown, sent: boolean) {
    this.error = error
    this.sent = sent
  }
}

export class PostgresLink {
  readonly #pool: Pool
  readonly #onState: OnState
  #lost = false
  #closed = false

  private constructor(connector: Connector, onState: OnState) {
    this.#pool = connector.pool()
    this.#onState = onState
    this.#pool.on('error', (error) => this.#fault(error))
    // A connection that is in use tells its loss twice: by the call that fails, and by an event.
    this.#pool.on('connect', (client) => client.on('error', (error) => this.#fault(error)))
  }

  /** @throws UNAVAILABLE · UNAUTHENTICATED · INVALID_OPTION when it cannot be made the first time */
  static async open(connector: Connector, name: string, onState: OnState = () => undefined): Promise<PostgresLink> {
    const link = new PostgresLink(connector, onState)
    try {
      await link.#once('SELECT 1', [])
      return link
    } catch (failed) {
      await link.close()
      throw postgresError((failed as Failed).error, `connecting to ${name}`)
    }
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Whether the last call reached the server. */
  get isUp(): boolean {
    return !this.#lost
  }

  /** Run a statement. @throws UNAVAILABLE · DISK_FULL · FORBIDDEN · STORE_FAILED */
  async query(text: string, values: readonly Value[], doing: string, options: CallOptions = {}): Promise<Rows> {
    const again = options.again !== false
    return patiently(() => this.#attempt(text, values), {
      patienceMs: LIMITS.brokerPatienceMs,
      isPassing: (failed) => !this.#closed && failed instanceof Failed && mayPass(failed.error, failed.sent, again),
      givenUp: (failed) => failed,
    }).catch((failed: unknown) => {
      throw failed instanceof Failed ? postgresError(failed.error, doing) : failed
    })
  }

  async #attempt(text: string, values: readonly Value[]): Promise<Rows> {
    if (this.#closed) throw new MillraceError('CLOSED', 'the broker is closed: connect again')
    try {
      return await this.#once(text, values)
    } catch (failed) {
      if (failed instanceof Failed && isConnectionFault(failed.error)) this.#fault(failed.error)
      throw failed
    }
  }

  async #once(text: string, values: readonly Value[]): Promise<Rows> {
    let client: PooledClient
    try {
      client = await this.#pool.connect()
    } catch (error) {
      throw new Failed(error, false)
    }
    let broken = true
    try {
      const { rows } = await client.query(queryOf(text, values, LIMITS.serverAnswerMs))
      broken = false
      return rows
    } catch (error) {
      broken = isConnectionFault(error)
      throw new Failed(error, true)
    } finally {
      client.release(broken)
    }
  }

  #fault(error: unknown): void {
    if (this.#lost || this.#closed) return
    this.#lost = true
    this.#onState(postgresError(error, 'waiting for the server'))
    void this.#probe()
  }

  /** Ask until the server answers. */
  async #probe(): Promise<void> {
    while (!this.#closed) {
      await sleep(PROBE_MS, undefined, { ref: false })
      const answers = await this.#once('SELECT 1', []).then(
        () => true,
        () => false,
      )
      if (!answers || this.#closed) continue
      this.#lost = false
      this.#onState(null)
      return
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    // Calls under way end by themselves: what they wait for is the server.
    await Promise.race([this.#pool.end().catch(() => undefined), sleep(CLOSE_MS, undefined, { ref: false })])
  }
}
