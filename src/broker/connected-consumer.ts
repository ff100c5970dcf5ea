/** A consumer's handle over an engine: checks options, and asks the engine for this consumer only. */
import { checkConsumerName, nameOf } from '../base/names.ts'
import { knownOptions } from '../base/units.ts'
import { ACTION_MEMBERS, type ActionOptions } from './action-options.ts'
import { noted } from './audit.ts'
import type { BrokerHost } from './broker.ts'
import { checkedNote, checkedQuery, checkStateChoice, refuseUndefined } from './call-options.ts'
import { unknownConsumer } from './consumer-errors.ts'
import type { ConsumerDescription, DeadLetterQuery } from './description.ts'
import type { ConsumerHandle, DeadLetters, PauseOptions, RewindOptions } from './handles.ts'
import { type From, position } from './position.ts'

export class ConnectedConsumer implements ConsumerHandle {
  readonly name: string
  readonly deadLetters: DeadLetters
  /** @throws CLOSED */
  readonly #host: () => Pick<BrokerHost, 'engine' | 'encoder'>

  /** @throws INVALID_OPTION · INVALID_NAME */
  constructor(consumer: string | { readonly name: string }, host: () => Pick<BrokerHost, 'engine' | 'encoder'>) {
    this.name = nameOf(consumer, 'consumer')
    this.#host = host
    const settle =
      (action: string, verb: 'redrive' | 'dropDeadLetters') =>
      async (query: DeadLetterQuery = {}, options: ActionOptions = {}): Promise<number> => {
        const checked = checkedQuery(query)
        knownOptions(options, ACTION_MEMBERS, action)
        const { places, after: _, ...named } = checked
        const target = { ...named, ...(places !== undefined && { places: places.length }) }
        return this.#noted(action, target, options, (reason) =>
          this.#engine.consumers[verb](this.name, checked, reason),
        )
      }
    this.deadLetters = {
      list: async (query = {}) => this.#engine.consumers.deadLetters(this.name, checkedQuery(query)),
      redrive: settle('redriveDeadLetters', 'redrive'),
      drop: settle('dropDeadLetters', 'dropDeadLetters'),
    }
  }

  get #engine(): BrokerHost['engine'] {
    return this.#host().engine
  }

  #noted<Answer>(
    action: string,
    target: Readonly<Record<string, string | number | undefined>>,
    { reason, by }: ActionOptions,
    act: (reason: string | undefined) => Promise<Answer>,
  ): Promise<Answer> {
    const options = { ...(reason !== undefined && { reason }), ...(by !== undefined && { by }) }
    return noted(this.#host(), { action, target: { consumer: this.name, ...target }, options }, act)
  }

  async describe(): Promise<ConsumerDescription> {
    const described = await this.#engine.consumers.describe(this.name)
    if (described === null) throw unknownConsumer(this.name)
    return described
  }

  async rewind(to: From, options: RewindOptions = {}): Promise<void> {
    const engine = this.#engine
    knownOptions(options, ['channel', 'state', ...ACTION_MEMBERS], 'rewind')
    refuseUndefined(options, 'rewind', 'every channel of the consumer')
    const { state = null } = options
    if (state !== null) checkStateChoice(state)
    const channel = options.channel === undefined ? null : nameOf(options.channel, 'channel')
    const place = position(to, engine.clock.now(), 'to')
    const target = {
      to: to instanceof Date ? to.toISOString() : JSON.stringify(to),
      channel: channel ?? undefined,
      state: state ?? undefined,
    }
    await this.#noted('rewindConsumer', target, options, (reason) =>
      engine.consumers.rewind(this.name, place, channel, state, reason),
    )
  }

  async pause(options: PauseOptions = {}): Promise<void> {
    const engine = this.#engine
    knownOptions(options, ACTION_MEMBERS, 'pause')
    const { reason = null, by = null } = options
    checkedNote(options, 'pause')
    const pause = { sinceMs: engine.clock.now(), reason, by }
    await this.#noted('pauseConsumer', {}, by === null ? {} : options, (note) =>
      engine.consumers.setPause(checkConsumerName(this.name), pause, note),
    )
  }

  async resume(options: ActionOptions = {}): Promise<void> {
    knownOptions(options, ACTION_MEMBERS, 'resume')
    await this.#noted('resumeConsumer', {}, options, (reason) =>
      this.#engine.consumers.setPause(checkConsumerName(this.name), null, reason),
    )
  }

  async remove(options: ActionOptions = {}): Promise<void> {
    knownOptions(options, ACTION_MEMBERS, 'remove')
    await this.#noted('removeConsumer', {}, options, (reason) => this.#engine.consumers.remove(this.name, reason))
  }
}
