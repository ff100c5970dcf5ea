/** A consumer that gets every event as it is stored, unparsed: for those who look into few of many. */
import type { BrokerHost, Startable } from '../broker/broker.ts'
import type { Delivery } from '../broker/engine.ts'
import { checkChannels, planOf, type Route } from './consumer.ts'
import type { ConsumerOptions, HandlerContext, Running } from './consumer-types.ts'
import { Runner } from './runner.ts'

export type TextHandler = (delivery: Delivery, ctx: HandlerContext) => unknown

/** @throws INVALID_OPTION · INVALID_NAME */
export function textConsumer(name: string, channels: readonly string[], options: ConsumerOptions, handler: TextHandler): Startable<Running> {
  checkChannels(name, channels)
  const route: Route = { definition: null, pattern: null, handler: handler as unknown as Route['handler'], batch: null }
  const plan = { ...planOf(name, channels, options, [route]), undecoded: true as const }
  return { start: (host: BrokerHost): Promise<Running> => Runner.start(plan, host) }
}
