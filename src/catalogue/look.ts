/** The facts of the catalogue, as a broker gives them: one look after the other, each reads only what is new. */
import { isMillraceError } from '../base/errors.ts'
import type { Broker } from '../broker/broker.ts'
import { engineOf } from '../broker/engine-of.ts'
import { type Rules, rulesOf } from '../rules/rules.ts'
import { type CatalogueFacts, type CatalogueWarning, isListed } from './catalogue.ts'
import { readersOf } from './readers.ts'
import { type RuleFacts, ruleFacts } from './rule-facts.ts'
import { SeenEvents, type SeenNewest } from './seen-events.ts'

/** Everything that a look has found. `visibleFacts` makes of it what a caller may see. */
export interface Looked extends Omit<CatalogueFacts, 'seen'> {
  readonly seen: readonly SeenNewest[]
}

export class CatalogueLook {
  readonly #broker: Broker
  readonly #seen = new SeenEvents()
  #rules: Rules | null = null

  constructor(broker: Broker) {
    this.#broker = broker
  }

  /** @throws CLOSED, and what the engine throws */
  async look(): Promise<Looked> {
    const engine = engineOf(this.#broker)
    const unread: CatalogueWarning[] = []
    const channels = (await engine.channels()).filter(({ name }) => isListed(name))
    const consumers = (await this.#broker.describe()).consumers.map(({ name, channels: taken }) => ({
      name,
      channels: taken.map(({ channel }) => channel),
    }))
    const rules = await this.#ruleFacts(unread)
    const names = channels.map(({ name }) => name).sort()
    const writing = rules.map(({ name, on, writes }) => ({ name, on, writes: writes.map(({ channel }) => channel) }))
    unread.push(...(await this.#seen.look(engine, names, readersOf(consumers, writing))))
    return { channels, consumers, rules, seen: this.#seen.all(), unread }
  }

  async #ruleFacts(unread: CatalogueWarning[]): Promise<readonly RuleFacts[]> {
    try {
      this.#rules ??= rulesOf(this.#broker)
      return (await this.#rules.list()).map(ruleFacts)
    } catch (error) {
      if (!isMillraceError(error, 'FORBIDDEN')) throw error
      unread.push({ code: 'not-read', message: `the rules are not read: ${error.message}` })
      return []
    }
  }
}
