/**
 * The router of one channel or wildcard: a consumer that finds, for each event, the rules in force at its offset.
 *
 * `emit` and `forward` are published together with the event's completion. For an `http` or `call` action, and for an
 * action that failed, the same completion adds the event to the queue of the action. So a failing rule neither delays
 * nor repeats another rule, and no action is lost.
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
import { type ActedOn, firingOf } from '../firing.ts'
import { TemplateFailure } from '../template/template-value.ts'
import type { Matched } from './channel-rules.ts'
import type { RuleVersion } from './rule-table.ts'

export interface RuleRouterHost {
  /** Resolves when the start offsets of every stored change of rules are known. */
  allEffective(): Promise<void>
  /** The rules that are in force at the event's offset and match it. */
  match(on: string, delivery: Delivery): Promise<Matched>
  /** The queue of an action. It is created and announced if it does not exist. */
  queueOf(version: RuleVersion, action: Action): Promise<Parameters<HandlerContext['emit']>[0]>
  /** The names of all channels. */
  channels(): Promise<ReadonlySet<string>>
}

/** The name of the router's consumer. */
export function routerName(on: string): string {
  const name = `rules.${on.replaceAll('*', '$any').replaceAll('>', '$rest')}`
  return name.length <= LIMITS.nameCharsMax ? name : `rules.$${createHash('sha256').update(on).digest('hex')}`
}

export function ruleRouter(
  on: string,
  from: NonNullable<ConsumerOptions['from']>,
  host: RuleRouterHost,
): Startable<Running> {
  const options: ConsumerOptions = {
    concurrency: LIMITS.ruleRouterEventsMax,
    retry: { attempts: LIMITS.attemptsMax, min: '100ms', max: '10s' },
    onDead: 'skip',
    from,
  }
  return textConsumer(routerName(on), [on], options, (delivery, ctx) => route(on, delivery, ctx, host))
}

async function route(name: string, delivery: Delivery, ctx: HandlerContext, host: RuleRouterHost): Promise<void> {
  // A wildcard does not include the channels of the rules themselves.
  if (delivery.channel.startsWith('$rule')) return
  await host.allEffective()
  const { versions, event } = await matched(name, delivery, ctx, host)
  if (event === null || versions.some(({ rule }) => rule?.actions[0]?.kind === 'drop')) return
  const { channel, offset, key, text } = delivery
  const on: ActedOn = { event, text, channel, offset, key }
  // A removed target channel fails the completion. The second attempt therefore checks for it first.
  const channels = delivery.attempt > 1 ? await host.channels() : null
  for (const version of versions) {
    for (const action of version.rule?.actions ?? []) await fire(version, action, on, ctx, channels, host)
  }
}

async function matched(name: string, delivery: Delivery, ctx: HandlerContext, host: RuleRouterHost): Promise<Matched> {
  try {
    return await host.match(name, delivery)
  } catch (error) {
    // A text that is not an event is not one at the next attempt either.
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
  host: RuleRouterHost,
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
