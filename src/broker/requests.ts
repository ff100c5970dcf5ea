/**
 * Asks and waits for replies (clause 22). A broker follows `$replies` from its first request until it has been idle for
 * a while, and takes the replies with its own key. A reply for which nothing waits any more is dropped and counted.
 */
import { randomBytes } from 'node:crypto'
import { isMillraceError, MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { nameOf } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { durationMs, knownOptions, wholeNumber } from '../base/units.ts'
import type { Channel } from '../channel/channel.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import type { Encodable } from '../event/encode.ts'
import { type AnyEventDefinition, isDefinition } from '../event/event.ts'
import { newId } from '../event/identity.ts'
import { copyOf } from '../event/made-now.ts'
import type { StoredText } from './engine.ts'
import type { BrokerCore } from './engine-of.ts'
import { EventDecoder } from './event-decoder.ts'
import { PROBLEM_TYPE, type ReplyProblem, repliesChannel } from './replies.ts'
import type { Replies, RequestCounts, RequestManyOptions, RequestOptions, RequestProblem } from './request-types.ts'

interface Waiting {
  readonly call: 'request' | 'requestMany'
  answered(consumer: string, event: StoredEvent): void
  problem(problem: RequestProblem): void
  fail(error: unknown): void
  readonly decoder: EventDecoder
  readonly types: ReadonlySet<string> | null
}

type Publish = (channel: Channel | string, event: Encodable) => Promise<unknown>

const AGAIN_MS = 100

export class Requests {
  readonly #core: BrokerCore
  readonly #publish: Publish
  readonly #address = randomBytes(16).toString('base64url')
  /** By the id of the request. */
  readonly #waiting = new Map<string, Set<Waiting>>()
  #count = 0
  #late = 0
  #following: Promise<void> | null = null
  #stop: AbortController | null = null
  #cancelIdle: (() => void) | null = null

  constructor(core: BrokerCore, publish: Publish) {
    this.#core = core
    this.#publish = publish
  }

  get counts(): RequestCounts {
    return { waiting: this.#count, late: this.#late }
  }

  async request(channel: Channel | string, event: Encodable, options: RequestOptions = {}): Promise<StoredEvent> {
    knownOptions(options, ['timeout', 'reply', 'signal'], 'request')
    const { replies, problems } = await this.#ask('request', channel, event, { ...options, answers: 1 })
    const [reply] = replies
    if (reply !== undefined) return reply
    const { consumer, problem } = problems[0] as RequestProblem
    throw new MillraceError(
      'REQUEST_FAILED',
      `consumer "${consumer}" gave up on the request to "${nameOf(channel, 'channel')}": ${problem.detail}`,
      { channel: nameOf(channel, 'channel'), consumer, problem },
    )
  }

  async requestMany(channel: Channel | string, event: Encodable, options: RequestManyOptions = {}): Promise<Replies> {
    knownOptions(options, ['timeout', 'reply', 'signal', 'answers'], 'requestMany')
    const { answers } = options
    if (answers !== undefined) wholeNumber(answers, 'answers', 1, LIMITS.requestsMax)
    return this.#ask('requestMany', channel, event, options)
  }

  async #ask(
    call: Waiting['call'],
    channel: Channel | string,
    event: Encodable,
    options: RequestManyOptions,
  ): Promise<Replies> {
    const timeoutMs = durationMs(options.timeout ?? LIMITS.requestMsDefault, 'timeout')
    if (timeoutMs < 1 || timeoutMs > LIMITS.requestMsMax)
      throw new MillraceError(
        'INVALID_OPTION',
        `timeout of ${call} must be from a millisecond to five minutes; it is ${shown(options.timeout)}`,
        { option: 'timeout' },
      )
    const expected = expectedOf(call, options.reply)
    if (this.#count >= LIMITS.requestsMax)
      throw new MillraceError(
        'BACKPRESSURE',
        `${LIMITS.requestsMax} requests wait for their replies already: await earlier ones first`,
        { channel: nameOf(channel, 'channel') },
      )
    if (typeof event !== 'object' || event === null)
      throw new MillraceError('INVALID_EVENT', `${call} takes an event; it got ${shown(event)}`, {
        channel: nameOf(channel, 'channel'),
      })
    options.signal?.throwIfAborted()
    const request = copyOf(event, { ...event, id: event.id ?? newId(), replyto: this.#address })
    const ending = this.#wait(call, request.id, options, timeoutMs, expected, nameOf(channel, 'channel'))
    // Not awaited: the time may be over while the servers are unreachable.
    this.#follow()
      .then(() => (this.#waiting.has(request.id) ? this.#publish(channel, request) : undefined))
      .catch(ending.fail)
    return ending.done
  }

  /** Wait for the answers to a request, until there are enough, or the time is over. */
  #wait(
    call: Waiting['call'],
    id: string,
    { answers, signal }: RequestManyOptions,
    timeoutMs: number,
    expected: Pick<Waiting, 'decoder' | 'types'>,
    channel: string,
  ): { readonly done: Promise<Replies>; fail(error: unknown): void } {
    let resolve: (replies: Replies) => void = () => undefined
    let reject: (error: unknown) => void = () => undefined
    const done = new Promise<Replies>((onDone, onFailed) => {
      resolve = onDone
      reject = onFailed
    })
    const replies: StoredEvent[] = []
    const problems: RequestProblem[] = []
    const end = (settle: () => void): void => {
      if (!this.#forget(id, waiting)) return
      cancelTimer()
      signal?.removeEventListener('abort', aborted)
      settle()
    }
    const answered = (): void => {
      if (replies.length + problems.length >= (answers ?? LIMITS.requestsMax)) end(() => resolve({ replies, problems }))
    }
    const waiting: Waiting = {
      call,
      ...expected,
      answered: (_, event) => {
        replies.push(event)
        answered()
      },
      problem: (problem) => {
        problems.push(problem)
        answered()
      },
      fail: (error) => end(() => reject(error)),
    }
    const aborted = (): void => waiting.fail(signal?.reason)
    const cancelTimer = this.#core.engine.clock.after(timeoutMs, () => {
      if (call === 'requestMany') end(() => resolve({ replies, problems }))
      else waiting.fail(timedOut(channel, id, timeoutMs))
    })
    signal?.addEventListener('abort', aborted, { once: true })
    this.#remember(id, waiting)
    return { done, fail: waiting.fail }
  }

  #remember(id: string, waiting: Waiting): void {
    this.#cancelIdle?.()
    this.#cancelIdle = null
    this.#count++
    const those = this.#waiting.get(id) ?? new Set()
    those.add(waiting)
    this.#waiting.set(id, those)
  }

  /** Returns false if it was forgotten before. */
  #forget(id: string, waiting: Waiting): boolean {
    const those = this.#waiting.get(id)
    if (those?.delete(waiting) !== true) return false
    this.#count--
    if (those.size === 0) this.#waiting.delete(id)
    if (this.#count === 0)
      this.#cancelIdle = this.#core.engine.clock.after(LIMITS.requestIdleMs, () => this.#endFollowing(), 'beat')
    return true
  }

  #endFollowing(): void {
    this.#stop?.abort()
    this.#stop = null
    this.#following = null
  }

  /** Resolves when every later reply will be seen. */
  #follow(): Promise<void> {
    this.#following ??= this.#begin()
    this.#following.catch(() => this.#endFollowing())
    return this.#following
  }

  async #begin(): Promise<void> {
    const { encoder, engine } = this.#core
    await encoder.declare(repliesChannel)
    const { next } = await engine.bounds(repliesChannel.name)
    const stop = new AbortController()
    this.#stop = stop
    void this.#read(next, stop.signal)
  }

  async #read(from: number, signal: AbortSignal): Promise<void> {
    const { engine, encoder } = this.#core
    for (let next = from; !signal.aborted; ) {
      try {
        const reading = { from: { offset: next }, to: null, follow: true, signal }
        for await (const batch of engine.read(repliesChannel.name, reading)) {
          for (const stored of batch) if (stored.key === this.#address) this.#came(stored)
          next = (batch.at(-1)?.offset ?? next - 1) + 1
        }
      } catch (error) {
        if (signal.aborted || isMillraceError(error, 'CLOSED')) return
        await new Promise<void>((resolve) => void engine.clock.after(AGAIN_MS, resolve))
        // The channel was removed, and perhaps made again.
        if (isMillraceError(error, 'UNKNOWN_CHANNEL') || isMillraceError(error, 'OFFSET_OUT_OF_RANGE')) {
          await encoder.declare(repliesChannel).catch(() => undefined)
          next = 0
        }
      }
    }
  }

  #came(stored: StoredText): void {
    const { inreplyto, replier, type, data } = JSON.parse(stored.text) as Readonly<Record<string, unknown>>
    const those = this.#waiting.get(String(inreplyto))
    if (those === undefined) {
      this.#late++
      return
    }
    const consumer = String(replier)
    for (const waiting of [...those]) {
      if (type === PROBLEM_TYPE) waiting.problem({ consumer, problem: data as ReplyProblem })
      else this.#decode(stored, consumer, waiting)
    }
  }

  #decode(stored: StoredText, consumer: string, waiting: Waiting): void {
    if (waiting.types !== null && !waiting.types.has(stored.type)) {
      const expected = [...waiting.types].join(' or ')
      return waiting.fail(
        new MillraceError(
          'TYPE_NOT_CARRIED',
          `consumer "${consumer}" replied with "${stored.type}" (event "${stored.id}"), and ${waiting.call} expects ${expected}`,
          { channel: repliesChannel.name, type: stored.type, types: [...waiting.types] },
        ),
      )
    }
    try {
      const event = waiting.decoder.decode(stored, repliesChannel.name)
      if (!(event instanceof Promise)) waiting.answered(consumer, event)
      else event.then((decoded) => waiting.answered(consumer, decoded), waiting.fail)
    } catch (error) {
      waiting.fail(error)
    }
  }

  /** The broker closes: nothing is waited for any more. */
  close(): void {
    const error = new MillraceError('CLOSED', 'the broker was closed while a request waited for its reply')
    for (const those of [...this.#waiting.values()]) for (const waiting of [...those]) waiting.fail(error)
    this.#cancelIdle?.()
    this.#endFollowing()
  }
}

/** @throws INVALID_OPTION */
function expectedOf(
  call: string,
  reply: RequestOptions['reply'],
): { readonly decoder: EventDecoder; readonly types: ReadonlySet<string> | null } {
  const decoder = new EventDecoder('read')
  if (reply === undefined) return { decoder, types: null }
  const definitions = [reply].flat() as readonly AnyEventDefinition[]
  for (const definition of definitions) {
    if (!isDefinition(definition))
      throw new MillraceError(
        'INVALID_OPTION',
        `reply of ${call} takes event definitions, as event() returns them; this is ${shown(definition)}`,
        { option: 'reply' },
      )
    decoder.addHandled(definition)
  }
  return { decoder, types: new Set(definitions.map(({ type }) => type)) }
}

function timedOut(channel: string, id: string, timeoutMs: number): MillraceError {
  return new MillraceError(
    'REQUEST_TIMEOUT',
    `no reply to the request "${id.slice(0, 100)}" on "${channel}" came within ${timeoutMs} ms: a consumer may be slow, or none may run that replies`,
    { channel, id, timeoutMs },
  )
}
