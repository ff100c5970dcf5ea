/**
 * Consumer logs (the fence of clauses 3, 11 and 12) as subjects of one stream. An entry is stored only if the last
 * sequence of its subject is the expected one. So completions and claims are conditional writes.
 *
 * Invariants: an entry carries a mark of its writer, so a writer that got no answer finds out whether the entry is
 * stored. An entry that is larger than a message is several messages, stored all or none.
 */
import type { Msg } from '@nats-io/transport-node'
import { type ConsumerLogContent, Fenced } from '../../external-log/log-backend.ts'
import { API, ApiError, isApiError, millraceError } from './api-error.ts'
import type { Layout } from './layout.ts'
import type { NatsClient } from './nats-client.ts'
import { Unanswered } from './requests.ts'

const ENTRY = 'Millrace-Entry'
/** `N/OF`, if an entry is several messages. */
const PART = 'Millrace-Part'
const EXPECTED = 'Nats-Expected-Last-Subject-Sequence'
const HEADER_BYTES = 512
const BATCH = 1000

export class ConsumerLogSubjects {
  readonly #client: NatsClient
  readonly #layout: Layout

  constructor(client: NatsClient, layout: Layout) {
    this.#client = client
    this.#layout = layout
  }

  static config(layout: Layout, replicas: number): Readonly<Record<string, unknown>> & { readonly name: string } {
    const subjects = [`${layout.prefix}.~j.*`]
    const storage = {
      storage: 'file',
      retention: 'limits',
      num_replicas: replicas,
      allow_direct: true,
      allow_atomic: true,
    }
    return {
      name: layout.consumerLogs,
      subjects,
      ...storage,
      duplicate_window: 100e6,
      metadata: { 'millrace-part': 'journals' },
    }
  }

  async read(id: string): Promise<ConsumerLogContent> {
    const subject = this.#layout.consumerLog(id)
    const entries: Uint8Array[] = []
    let parts: Uint8Array[] = []
    let version = 0
    for (let more = true; more; ) {
      const messages: Msg[] = []
      const end = await this.#call('reading a consumer log', () => {
        messages.length = 0
        const query = { seq: version + 1, next_by_subj: subject, batch: BATCH }
        return this.#client.many(`$JS.API.DIRECT.GET.${this.#layout.consumerLogs}`, query, (message) =>
          messages.push(message),
        )
      })
      for (const message of messages) {
        version = Number(message.headers?.get('Nats-Sequence'))
        const [number, of] = (message.headers?.get(PART) || '1/1').split('/')
        if (number === '1') parts = []
        parts.push(message.data)
        if (number === of) entries.push(parts.length === 1 ? message.data : Buffer.concat(parts))
      }
      more = messages.length > 0 && Number(end.headers?.get('Nats-Num-Pending') || 0) > 0
    }
    return { entries, version }
  }

  async append(id: string, expected: number, entry: Uint8Array): Promise<number> {
    const subject = this.#layout.consumerLog(id)
    const mark = this.#client.library.nuid.next()
    try {
      return await this.#client.patiently('writing a consumer log', (tries) =>
        this.#write(id, subject, expected, entry, mark, tries),
      )
    } catch (error) {
      if (error instanceof Fenced) throw error
      throw millraceError(error, 'writing a consumer log')
    }
  }

  async #write(
    id: string,
    subject: string,
    expected: number,
    entry: Uint8Array,
    mark: string,
    tries: number,
  ): Promise<number> {
    try {
      const max = this.#client.maxPayload - HEADER_BYTES
      return entry.length <= max
        ? await this.#single(subject, expected, entry, mark)
        : await this.#several(subject, expected, entry, mark, max)
    } catch (error) {
      if (isApiError(error, API.wrongLastSequence)) {
        const own = tries > 1 ? await this.#ours(subject, mark) : null
        if (own !== null) return own
        throw new Fenced(id)
      }
      // Another write to this subject is under way, and will be decided in a moment.
      if (isApiError(error, API.wrongLastSequenceInProcess)) throw new Unanswered('another write is being decided')
      throw error
    }
  }

  async #single(subject: string, expected: number, entry: Uint8Array, mark: string): Promise<number> {
    const headers = this.#client.headers([
      [EXPECTED, `${expected}`],
      [ENTRY, mark],
    ])
    return (await this.#client.ask<{ readonly seq: number }>(subject, entry, headers)).seq
  }

  async #several(subject: string, expected: number, entry: Uint8Array, mark: string, max: number): Promise<number> {
    const batch = this.#client.library.nuid.next()
    const of = Math.ceil(entry.length / max)
    for (let number = 1; number <= of; number++) {
      const headers = this.#client.headers([
        ...(number === 1 ? ([[EXPECTED, `${expected}`]] as const) : []),
        [ENTRY, mark],
        [PART, `${number}/${of}`],
        ['Nats-Batch-Id', batch],
        ['Nats-Batch-Sequence', `${number}`],
        ...(number === of ? ([['Nats-Batch-Commit', '1']] as const) : []),
      ])
      const part = entry.subarray((number - 1) * max, number * max)
      if (number < of) this.#client.publish(subject, part, headers)
      else {
        const { seq, count } = await this.#client.ask<{ readonly seq: number; readonly count?: number }>(
          subject,
          part,
          headers,
        )
        if (count !== of)
          throw new ApiError({
            code: API.batchIncomplete,
            description: 'an entry of a consumer log was not stored completely',
          })
        return seq
      }
    }
    throw new Error('an entry has at least one part')
  }

  /** The version of the last entry, if it is the entry for which no answer came. */
  async #ours(subject: string, mark: string): Promise<number | null> {
    const { message } = await this.#client.api<{ readonly message: { readonly seq: number; readonly hdrs?: string } }>(
      `STREAM.MSG.GET.${this.#layout.consumerLogs}`,
      {
        last_by_subj: subject,
      },
    )
    return Buffer.from(message.hdrs ?? '', 'base64')
      .toString()
      .includes(`${ENTRY}: ${mark}\r\n`)
      ? message.seq
      : null
  }

  async trim(id: string, before: number): Promise<void> {
    await this.#call('trimming a consumer log', () =>
      this.#client.api(`STREAM.PURGE.${this.#layout.consumerLogs}`, {
        filter: this.#layout.consumerLog(id),
        seq: before,
      }),
    )
  }

  async remove(id: string): Promise<void> {
    await this.#call('removing a consumer log', () =>
      this.#client.api(`STREAM.PURGE.${this.#layout.consumerLogs}`, { filter: this.#layout.consumerLog(id) }),
    )
  }

  async ids(): Promise<string[]> {
    const found: string[] = []
    for (let offset = 0; ; ) {
      const info = await this.#call('listing consumer logs', () =>
        this.#client.api<{
          readonly total?: number
          readonly state: { readonly subjects?: Readonly<Record<string, number>> }
        }>(`STREAM.INFO.${this.#layout.consumerLogs}`, { subjects_filter: '>', offset }),
      )
      const subjects = Object.keys(info.state.subjects ?? {})
      found.push(...subjects.map((subject) => this.#layout.consumerLogId(subject)))
      offset += subjects.length
      if (subjects.length === 0 || offset >= (info.total ?? 0)) break
    }
    return found
  }

  async #call<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await this.#client.patiently(what, work)
    } catch (error) {
      throw millraceError(error, what)
    }
  }
}
