/**
 * Requests to the servers over one connection, and their answers: one subscription and one timer for all of them.
 *
 * When the connection is lost, all requests without an answer fail at once: it is unknown whether they had an effect.
 */
import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node'

/**
 * There is no answer: the connection was lost, or no server answered in time. Whether the request had its effect is not
 * known.
 */
export class Unanswered extends Error {
  override readonly name = 'Unanswered'
}

/**
 * A request without an answer. The answer may be several messages: `take` returns whether a message was the last one.
 */
interface Question {
  readonly subject: string
  readonly take: (message: Msg) => boolean
  readonly fail: (error: Error) => void
  dueMs: number
  readonly patienceMs: number
}

const SWEEP_MS = 100

export class Requests {
  readonly #connection: NatsConnection
  readonly #inbox: string
  readonly #waiting = new Map<string, Question>()
  #count = 0
  #sweep: NodeJS.Timeout | null = null

  constructor(connection: NatsConnection, inbox: string) {
    this.#connection = connection
    this.#inbox = `${inbox}.`
    connection.subscribe(`${this.#inbox}*`, {
      callback: (error, message) => (error === null ? this.#answered(message) : undefined),
    })
  }

  one(subject: string, payload: Uint8Array | string, headers: MsgHdrs | undefined, patienceMs: number): Promise<Msg> {
    return new Promise((resolve, reject) => {
      this.#ask(subject, payload, headers, patienceMs, reject, (message) => {
        resolve(message)
        return true
      })
    })
  }

  /** Messages come until one has a status (404, 204 …), which is the last one. */
  many(subject: string, payload: string, patienceMs: number, each: (message: Msg) => void): Promise<Msg> {
    return new Promise((resolve, reject) => {
      this.#ask(subject, payload, undefined, patienceMs, reject, (message) => {
        if ((message.headers?.code ?? 0) >= 200) {
          resolve(message)
          return true
        }
        each(message)
        return false
      })
    })
  }

  #ask(
    subject: string,
    payload: Uint8Array | string,
    headers: MsgHdrs | undefined,
    patienceMs: number,
    fail: (error: Error) => void,
    take: (message: Msg) => boolean,
  ): void {
    const token = (this.#count++).toString(36)
    this.#waiting.set(token, { subject, take, fail, dueMs: performance.now() + patienceMs, patienceMs })
    this.#sweep ??= setInterval(() => this.#late(), SWEEP_MS)
    try {
      this.#connection.publish(subject, payload, {
        reply: this.#inbox + token,
        ...(headers !== undefined && { headers }),
      })
    } catch (error) {
      this.#waiting.delete(token)
      fail(error as Error)
    }
  }

  #answered(message: Msg): void {
    const token = message.subject.slice(this.#inbox.length)
    const waiting = this.#waiting.get(token)
    if (waiting === undefined) return
    if (message.data.length === 0 && message.headers?.code === 503) {
      this.#waiting.delete(token)
      waiting.fail(new Unanswered('no server answers on this subject'))
    } else if (waiting.take(message)) this.#waiting.delete(token)
    else waiting.dueMs = performance.now() + waiting.patienceMs
  }

  #late(): void {
    const now = performance.now()
    for (const [token, waiting] of this.#waiting) {
      if (waiting.dueMs > now) continue
      this.#waiting.delete(token)
      waiting.fail(new Unanswered(`no answer within ${waiting.patienceMs} ms`))
    }
    if (this.#waiting.size > 0 || this.#sweep === null) return
    clearInterval(this.#sweep)
    this.#sweep = null
  }

  /**
   * The servers refused a subject (null: the subscription for answers). Requests that wait for an answer from there
   * fail.
   */
  forbidden(subject: string | null, error: Error): void {
    for (const [token, waiting] of this.#waiting) {
      if (subject !== null && waiting.subject !== subject) continue
      this.#waiting.delete(token)
      waiting.fail(error)
    }
  }

  /** The connection is gone: no request will be answered. */
  lost(why: string): void {
    const all = [...this.#waiting.values()]
    this.#waiting.clear()
    if (this.#sweep !== null) clearInterval(this.#sweep)
    this.#sweep = null
    for (const { fail } of all) fail(new Unanswered(why))
  }
}
