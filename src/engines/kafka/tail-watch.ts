/**
 * Long polls at the tails of the channels that are watched: one request at a time to each broker that leads some of
 * them, for all of these channels. A new channel is in the next request, which begins within half a second. Own writes
 * are told at once.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { OnAppend } from '../../external-log/log-backend.ts'
import type { ChannelTopic } from './channel-topic.ts'
import type { KafkaClient } from './client.ts'
import { CODES } from './kafka-error.ts'
import { type FetchFrom, fetch } from './requests.ts'

const WAIT_MS = 500
const FETCH_BYTES = 4 * 1024 * 1024
const AGAIN_MS = 100
const OWN_MS = 20
/** Above this many of our own bytes per poll, our appends already reveal others' writes, so we poll less often. */
const OWN_BYTES = 32 * 1024
const OFTEN_MS = 100

export class TailWatch {
  readonly #client: KafkaClient
  readonly #logs = new Map<string, ChannelTopic>()
  /** The brokers that are polled. */
  readonly #polled = new Set<number>()
  #closed = false

  constructor(client: KafkaClient) {
    this.#client = client
  }

  /** Call the listener for new events of a channel, until the returned function is called. */
  async add(log: ChannelTopic, listener: OnAppend): Promise<() => void> {
    await log.follow()
    log.listeners.add(listener)
    this.#logs.set(log.topic, log)
    const stop = (): void => {
      log.listeners.delete(listener)
      if (log.listeners.size === 0 && this.#logs.get(log.topic) === log) this.#logs.delete(log.topic)
    }
    try {
      await this.#poll(log.topic)
    } catch (error) {
      // The caller gets the error, and asks again.
      stop()
      throw error
    }
    return stop
  }

  async #poll(topic: string): Promise<void> {
    const leader = await this.#client.leaderId(topic)
    if (this.#polled.has(leader) || this.#closed) return
    this.#polled.add(leader)
    void this.#pollAll(leader).finally(() => this.#polled.delete(leader))
  }

  async #pollAll(leader: number): Promise<void> {
    while (!this.#closed) {
      const wanted: FetchFrom[] = []
      for (const [topic, log] of this.#logs) {
        const its = await this.#client.leaderId(topic).catch(() => null)
        if (its === leader) wanted.push({ topic, offset: log.tail ?? 0 })
        else if (its !== null) await this.#poll(topic).catch(() => undefined)
      }
      const [{ topic }] = wanted.length === 0 ? [{ topic: null }] : (wanted as [FetchFrom])
      if (topic === null) {
        if (this.#logs.size === 0) return
        await sleep(AGAIN_MS)
      } else await this.#pollOnce(topic, wanted)
    }
  }

  async #pollOnce(topic: string, wanted: readonly FetchFrom[]): Promise<void> {
    try {
      const answers = await this.#client.once(topic, 'watch', (connection) =>
        fetch(this.#client.library, connection, wanted, WAIT_MS, FETCH_BYTES),
      )
      let failed = false
      let known = 0
      let knownBytes = 0
      for (const answer of answers) {
        if (answer.code === 0 || answer.code === CODES.OFFSET_OUT_OF_RANGE) {
          const isNew = await this.#logs.get(answer.topic)?.accept(answer)
          if (isNew === true || answer.bytes.length === 0) continue
          known++
          knownBytes += answer.bytes.length
        } else {
          this.#client.forget(answer.topic)
          failed = true
        }
      }
      // A write of this process also ends the poll, and brings nothing new. While this process writes, the answers to
      // its writes show whether others have written.
      if (failed) await sleep(AGAIN_MS)
      else if (known > 0 && known === answers.filter(({ bytes }) => bytes.length > 0).length)
        await sleep(knownBytes < OWN_BYTES ? OWN_MS : OFTEN_MS)
    } catch {
      // Other calls report the problem. This poll is repeated.
      if (!this.#closed) await sleep(AGAIN_MS)
    }
  }

  close(): void {
    this.#closed = true
    this.#logs.clear()
  }
}
