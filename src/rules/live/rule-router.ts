/**
 * The router of one channel or wildcard: a consumer that finds, for each event, the rules in force at its place.
 *
 * `emit` and `forward` are published with the event's completion. `http`, `call` and whatever fails are handed, with that same completion,
 * to the queue of the action. So one rule's failure neither holds up nor repeats another's, and nothing is done twice or lost between.
 */
import { createHash } from 'node:crypto'
import { isMillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import type { Startable } from '../../broker/broker.ts'
import type { Delivery } from '../../broker/engine.ts'
import type { ConsumerOptions, HandlerContext, Running } from '../../consumer/consumer-types.ts'
import { textConsumer } from '../../consumer/text-consumer.ts'
import { isPermanentFailure } from '../../outbound/permanent-failure.ts'
import type { Action, EmitAction, ForwardAction } from '../action/action.ts'
import { performPublish } from '../action/publish-action.ts'
import { TemplateFailure } from '../template/template-value.ts'
import { type ActedOn, firingOf } from './firing.ts'
import type { Matched } from './rule-index.ts'
import type { RuleVersion } from './rule-table.ts'

export interface RouterHost {
  /** Resolves when every change of rules that was stored before is known. */
  settled(): Promise<void>
  /** The rules in force at an event's place. */
  match(on: string, delivery: Delivery): Promise<Matched>
  /** The queue of an action, made and announced if it is not yet. */
  queueOf(version: RuleVersion, action: Action): Promise<Parameters<HandlerContext['emit']>[0]>
  /** Names of all channels. */
  channels(): Promise<ReadonlySet<string>>
}

/** The router's consumer. */
export function routerName(on: string): string {
  const name = `rules.${on.replaceAll('*', '$any').replaceAll('>', '$rest')}`
  return name.length <= LIMITS.nameCharsMax ? name : `rules.$${createHash('sha256').update(on).digest('hex')}`
}

export function ruleRouter(
  on: string,
  from: NonNullable<ConsumerOptions['from']>,
  host: RouterHost,
): Startable<Running> {
  const options: ConsumerOptions = {
    concurrency: LIMITS.ruleRouterEventsMax,
    retry: { attempts: LIMITS.attemptsMax, min: '100ms', max: '10s' },
    onDead: 'skip',
    from,
  }
  return textConsumer(routerName(on), [on], options, (delivery, ctx) => route(on, delivery, ctx, host))
}

async function route(name: string, delivery: Delivery, ctx: HandlerContext, host: RouterHost): Promise<void> {
  // Channels of the rules themselves are nobody's business, also under a wildcard.
  if (delivery.channel.startsWith('$rule')) return
  await host.settled()
  const { versions, event } = await matched(name, delivery, ctx, host)
  if (event === null || versions.some(({ rule }) => rule?.actions[0]?.kind === 'drop')) return
  const { channel, offset, key, text } = delivery
  const on: ActedOn = { event, text, channel, offset, key }
  // A channel that is gone is noticed with the completion; the second time it is looked for before.
  const channels = delivery.attempt > 1 ? await host.channels() : null
  for (const version of versions) {
    for (const action of version.rule?.actions ?? []) await fire(version, action, on, ctx, channels, host)
  }
}

async function matched(name: string, delivery: Delivery, ctx: HandlerContext, host: RouterHost): Promise<Matched> {
  try {
    return await host.match(name, delivery)
  } catch (error) {
    // Text that is no event stays none.
    if (isMillraceError(error, 'INVALID_EVENT')) return ctx.reject(error)
    throw error
  }
}

async function fire(
  version: RuleVersion,
  action: Action,
  on: ActedOn,
  ctx: HandlerContext,
  channels: ReadonlySet<string> | null,
  host: RouterHost,
): Promise<void> {
  if (
    (action.kind === 'emit' || action.kind === 'forward') &&
    (channels?.has(action.channel) ?? true) &&
    (await published(version, action, on, ctx))
  )
    return
  const queue = await host.queueOf(version, action)
  await ctx.emit(queue, firingOf(on, version.offset) as never)
}

async function published(
  version: RuleVersion,
  action: EmitAction | ForwardAction,
  on: ActedOn,
  ctx: HandlerContext,
): Promise<boolean> {
  try {
    await performPublish(action, on, version.name, ctx)
    return true
  } catch (error) {
    if (error instanceof TemplateFailure || isPermanentFailure(error)) return false
    throw error
  }
}
