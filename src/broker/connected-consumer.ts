/** A consumer's handle over an engine: checks options, and asks the engine for this consumer only. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkConsumerName, nameOf } from '../base/names.ts'
import { knownOptions } from '../base/units.ts'
import { checkedQuery, checkStateChoice, refuseUndefined } from './call-options.ts'
import { unknownConsumer } from './consumer-errors.ts'
import type { ConsumerDescription } from './description.ts'
import type { Engine } from './engine.ts'
import type { ConsumerHandle, DeadLetters, PauseOptions, RewindOptions } from './handles.ts'
import { type From, position } from './position.ts'

export class ConnectedConsumer implements ConsumerHandle {
  readonly name: string
  readonly deadLetters: DeadLetters
  /** @throws CLOSED */
  readonly #engine: () => Engine

  /** @throws INVALID_OPTION · INVALID_NAME */
  constructor(consumer: string | { readonly name: string }, engine: () => Engine) {
    this.name = nameOf(consumer, 'consumer')
    this.#engine = engine
    this.deadLetters = {
      list: async (query = {}) => engine().consumers.deadLetters(this.name, checkedQuery(query)),
      redrive: async (query = {}) => engine().consumers.redrive(this.name, checkedQuery(query)),
      drop: async (query = {}) => engine().consumers.dropDeadLetters(this.name, checkedQuery(query)),
    }
  }

  async describe(): Promise<ConsumerDescription> {
    const described = await this.#engine().consumers.describe(this.name)
    if (described === null) throw unknownConsumer(this.name)
    return described
  }

  async rewind(to: From, options: RewindOptions = {}): Promise<void> {
    const engine = this.#engine()
    knownOptions(options, ['channel', 'state'], 'rewind')
    refuseUndefined(options, 'rewind', 'every channel of the consumer')
    const { state = null } = options
    if (state !== null) checkStateChoice(state)
    const channel = options.channel === undefined ? null : nameOf(options.channel, 'channel')
    await engine.consumers.rewind(this.name, position(to, engine.clock.now(), 'to'), channel, state)
  }

  async pause(options: PauseOptions = {}): Promise<void> {
    const engine = this.#engine()
    knownOptions(options, ['reason'], 'pause')
    const { reason = null } = options
    if (reason !== null && (typeof reason !== 'string' || reason.length > LIMITS.reasonCharsMax))
      throw new MillraceError('INVALID_OPTION', `reason must be text of at most ${LIMITS.reasonCharsMax} characters`, {
        option: 'reason',
      })
    await engine.consumers.setPause(checkConsumerName(this.name), { sinceMs: engine.clock.now(), reason })
  }

  async resume(): Promise<void> {
    await this.#engine().consumers.setPause(checkConsumerName(this.name), null)
  }

  async remove(): Promise<void> {
    await this.#engine().consumers.remove(this.name)
  }
}
