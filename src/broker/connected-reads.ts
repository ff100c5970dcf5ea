/** Reading without consuming: checks the options of `read` and `tail`, and decodes what the engine reads. */
import { MillraceError } from '../base/errors.ts'
import { isWildcard, nameOf } from '../base/names.ts'
import { shown } from '../base/shown.ts'
import { knownOptions, trueOrFalse } from '../base/units.ts'
import type { Channel } from '../channel/channel.ts'
import type { StoredEvent } from '../event/cloud-event.ts'
import { type CompiledPattern, compilePattern } from '../pattern/pattern.ts'
import type { Engine, EngineReadOptions, StoredText } from './engine.ts'
import { EventDecoder } from './event-decoder.ts'
import type { EventEncoder } from './event-encoder.ts'
import { position } from './position.ts'
import type { Readable, ReadOptions, TailedEvent } from './reading.ts'
import { Tail } from './tail.ts'

export class ConnectedReads {
  readonly #engine: Engine
  readonly #encoder: EventEncoder

  constructor(engine: Engine, encoder: EventEncoder) {
    this.#engine = engine
    this.#encoder = encoder
  }

  read<C extends Channel | string>(channel: C, options: ReadOptions = {}): AsyncIterableIterator<Readable<C>> {
    const asked = this.#readOptions(channel, options)
    const left = new AbortController()
    const signal = options.signal === undefined ? left.signal : AbortSignal.any([left.signal, options.signal])
    return leavable(this.#read(channel, { ...asked, signal }), left) as AsyncIterableIterator<Readable<C>>
  }

  /** Checks all options when `read` is called, not when the first event is requested. */
  #readOptions(
    channel: Channel | string,
    options: ReadOptions,
  ): Omit<EngineReadOptions, 'signal'> & { readonly name: string; readonly pattern: CompiledPattern | null } {
    const name = nameOf(channel, 'channel')
    knownOptions(options, ['from', 'to', 'where', 'follow', 'signal'], 'read')
    const { from = 'beginning', to, where, follow = false, signal } = options
    if (signal !== undefined && !(signal instanceof AbortSignal)) {
      throw new MillraceError('INVALID_OPTION', `signal of read must be an AbortSignal; it is ${shown(signal)}`, {
        option: 'signal',
      })
    }
    const nowMs = this.#engine.clock.now()
    return {
      name,
      pattern: where === undefined ? null : compilePattern(where),
      from: position(from, nowMs),
      to: to === undefined ? null : position(to, nowMs, 'to'),
      follow: trueOrFalse(follow, 'follow'),
    }
  }

  async *#read(
    channel: Channel | string,
    asked: EngineReadOptions & { readonly name: string; readonly pattern: CompiledPattern | null },
  ): AsyncGenerator<unknown> {
    const { name, pattern, ...options } = asked
    const decoder = new EventDecoder('read')
    if (typeof channel !== 'string') decoder.addChannel(channel)
    const first = await this.#encoder.with([channel], async () => {
      const batches = this.#engine.read(name, options)[Symbol.asyncIterator]()
      return { batches, next: await batches.next() }
    })
    try {
      for (let { next } = first; next.done !== true; next = await first.batches.next())
        for (const event of matching(next.value, pattern)) yield decoder.decode(event, name)
    } finally {
      await first.batches.return?.()
    }
  }

  tail(
    channels: Channel | string | readonly (Channel | string)[],
    options: ReadOptions = {},
  ): AsyncIterableIterator<TailedEvent> {
    const list = Array.isArray(channels) ? (channels as readonly (Channel | string)[]) : [channels as Channel | string]
    for (const channel of list)
      if (typeof channel !== 'string' || !isWildcard(channel)) this.#readOptions(channel, options)
    const { follow } = this.#readOptions('any', options)
    const tail = new Tail(
      {
        read: (channel, reading) => this.read(channel, reading) as AsyncIterable<StoredEvent>,
        channels: async () => (await this.#engine.channels()).map(({ name }) => name),
      },
      list,
    )
    const left = new AbortController()
    const signal = options.signal === undefined ? left.signal : AbortSignal.any([left.signal, options.signal])
    const reading = { ...options, signal }
    return leavable(
      follow ? tail.followed(reading, signal) : tail.merged(reading),
      left,
    ) as AsyncIterableIterator<TailedEvent>
  }
}

/**
 * The events, for a reader that can leave while it waits for the next one. A generator alone would wait for it first.
 */
export function leavable<T>(events: AsyncGenerator<T>, left: AbortController): AsyncIterableIterator<T> {
  return {
    next: () => events.next(),
    return: () => {
      left.abort()
      return events.return(undefined)
    },
    [Symbol.asyncIterator]() {
      return this
    },
  }
}

function* matching(batch: readonly StoredText[], pattern: CompiledPattern | null): Generator<StoredText> {
  for (const event of batch) if (pattern === null || pattern.matches(event.text)) yield event
}
