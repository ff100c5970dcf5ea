/** The facts of the catalogue, as a broker gives them: one look after the other, each reads only what is new. */
import { isMillraceError } from '../base/errors.ts'
import { ownerOf } from '../base/names.ts'
import type { Broker } from '../broker/broker.ts'
import { engineOf } from '../broker/engine-of.ts'
import { type Rules, rulesOf } from '../rules/rules.ts'
import { type CatalogueFacts, type CatalogueWarning, isListed } from './catalogue.ts'
import type { Readers } from './makers.ts'
import { type RuleFacts, ruleFacts, takesChannel } from './rule-facts.ts'
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
    unread.push(...(await this.#seen.look(engine, names, readersOf(consumers, rules))))
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

function readersOf(consumers: CatalogueFacts['consumers'], rules: readonly RuleFacts[]): Readers {
  const byChannel = new Map<string, string[]>()
  for (const { name, channels } of consumers.filter((each) => ownerOf(each.name) !== '$rules'))
    for (const channel of channels) byChannel.set(channel, [...(byChannel.get(channel) ?? []), name])
  return {
    consumersOf: (channel) => byChannel.get(channel) ?? [],
    rulesBetween: (from, to) =>
      rules
        .filter(({ on, writes }) => writes.some(({ channel }) => channel === to) && takesChannel(on, from))
        .map(({ name }) => name),
  }
}
