/** A consumer that gets events as stored text, unparsed: for code that needs the content of few of them. */
import type { BrokerHost, Startable } from '../broker/broker.ts'
import type { Delivery } from '../broker/engine.ts'
import type { Want } from '../broker/want.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import type { ConsumerOptions, HandlerContext, Running } from './consumer-types.ts'
import { checkChannels, planOf, type Route } from './plan.ts'
import { Runner } from './runner.ts'

export type TextHandler = (delivery: Delivery, ctx: HandlerContext) => unknown

const EVERYTHING: readonly Want[] = [{ type: null, pattern: null }]

/** An event is delivered if any of `wants` matches it. @throws INVALID_OPTION · INVALID_NAME */
export function textConsumer(
  name: string,
  channels: readonly string[],
  options: ConsumerOptions,
  handler: TextHandler,
  wants: readonly Want[] = EVERYTHING,
): Startable<Running> {
  checkChannels(name, channels)
  const routes = wants.map(({ type, pattern }): Route => {
    const definition = type === null ? null : ({ type } as AnyEventDefinition)
    return {
      definition,
      pattern: pattern === null ? null : { json: pattern },
      handler: handler as unknown as Route['handler'],
      batch: null,
    }
  })
  const plan = { ...planOf(name, channels, options, routes), undecoded: true as const }
  return { start: (host: BrokerHost): Promise<Running> => Runner.start(plan, host) }
}
