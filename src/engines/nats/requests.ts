/**
 * Questions to the servers over one connection, and their answers: one subscription for all, one timer for all.
 *
 * When the connection is lost, all that wait are told at once that nobody knows what became of them.
 */
import type { Msg, MsgHdrs, NatsConnection } from '@nats-io/transport-node'

/** No answer: the connection was lost, or nobody answered in time. Whether the question had its effect is not known. */
export class Unanswered extends Error {
  override readonly name = 'Unanswered'
}

/** The answer to one question may be many messages: `take` answers whether it was the last. */
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

  /** Answers come until one has a status (404, 204 …), which is the last. */
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

  /** The servers refused a subject (null: our subscription for answers): what waits for an answer from there gets none. */
  forbidden(subject: string | null, error: Error): void {
    for (const [token, waiting] of this.#waiting) {
      if (subject !== null && waiting.subject !== subject) continue
      this.#waiting.delete(token)
      waiting.fail(error)
    }
  }

  /** The connection is gone: nobody will answer. */
  lost(why: string): void {
    const all = [...this.#waiting.values()]
    this.#waiting.clear()
    if (this.#sweep !== null) clearInterval(this.#sweep)
    this.#sweep = null
    for (const { fail } of all) fail(new Unanswered(why))
  }
}
