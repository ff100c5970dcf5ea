/**
 * Heartbeats of members (clauses 4 and 11): the last note of each, in a stream in the servers' memory. Each message
 * expires by itself.
 *
 * A server that restarts forgets the notes. The stream is then created again, and every member sends its next
 * heartbeat.
 */
import type { Msg } from '@nats-io/transport-node'
import { API, isApiError, millraceError } from './api-error.ts'
import type { Layout } from './layout.ts'
import type { NatsClient } from './nats-client.ts'
import { Unanswered } from './requests.ts'

export class Members {
  readonly #client: NatsClient
  readonly #layout: Layout
  readonly #config: Readonly<Record<string, unknown>> & { readonly name: string }

  constructor(client: NatsClient, layout: Layout, replicas: number) {
    this.#client = client
    this.#layout = layout
    this.#config = Members.config(layout, replicas)
  }

  static config(layout: Layout, replicas: number): Readonly<Record<string, unknown>> & { readonly name: string } {
    const subjects = [`${layout.prefix}.~m.*.*`]
    const storage = {
      storage: 'memory',
      retention: 'limits',
      max_msgs_per_subject: 1,
      num_replicas: replicas,
      allow_direct: true,
      allow_msg_ttl: true,
    }
    return { name: layout.members, subjects, ...storage, metadata: { 'millrace-part': 'members' } }
  }

  async beat(group: string, member: string, text: string, ttlMs: number): Promise<void> {
    const headers = [['Nats-TTL', `${Math.ceil(ttlMs / 1000)}s`]] as const
    await this.#call('sending a heartbeat', () =>
      this.#client.ask(this.#layout.member(group, member), text, this.#client.headers(headers)),
    )
  }

  async leave(group: string, member: string): Promise<void> {
    await this.#call('leaving', () =>
      this.#client.api(`STREAM.PURGE.${this.#layout.members}`, { filter: this.#layout.member(group, member) }),
    )
  }

  async all(group: string): Promise<ReadonlyMap<string, string>> {
    const filter = this.#layout.member(group, '*')
    const messages: Msg[] = []
    await this.#call('reading the heartbeats of members', () => {
      messages.length = 0
      return this.#client.many(
        `$JS.API.DIRECT.GET.${this.#layout.members}`,
        { multi_last: [filter.replace('%2A', '*')] },
        (message) => messages.push(message),
      )
    })
    return new Map(
      messages.map((message) => [this.#layout.memberOf(message.headers?.get('Nats-Subject') ?? ''), message.string()]),
    )
  }

  async #call<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await this.#client.patiently(what, async () => {
        try {
          return await work()
        } catch (error) {
          // Nobody answers, or no server knows the stream: the servers may have restarted.
          if (error instanceof Unanswered || isApiError(error, API.streamNotFound))
            await this.#client.api(`STREAM.CREATE.${this.#config.name}`, this.#config).catch(() => undefined)
          throw isApiError(error, API.streamNotFound) ? new Unanswered('the stream of members was forgotten') : error
        }
      })
    } catch (error) {
      throw millraceError(error, what)
    }
  }
}
