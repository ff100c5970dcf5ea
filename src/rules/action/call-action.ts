/** The `call` action: a function that the application has given a name. */
import { MillraceError } from '../../base/errors.ts'
import type { HandlerContext } from '../../consumer/consumer-types.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import type { Firing } from '../live/firing.ts'
import type { TemplateScope } from '../template/template.ts'
import { MISSING } from '../template/template-value.ts'
import type { CallAction } from './action.ts'

/** What a function called by a rule gets, besides the event. */
export interface CallContext extends HandlerContext {
  readonly rule: string
  /** `with` of the action, filled in; `undefined` where the action has none. */
  readonly args: unknown
}

/** A function that rules may call. What it throws is a failed attempt, as a handler's is. */
export type RuleFunction = (event: StoredEvent, ctx: CallContext) => unknown

export type CallHost = ReadonlyMap<string, RuleFunction>

export async function performCall(
  rule: string,
  action: CallAction,
  firing: Firing,
  scope: TemplateScope,
  ctx: HandlerContext,
  functions: CallHost,
): Promise<void> {
  const called = functions.get(action.function)
  if (called === undefined)
    throw new MillraceError('INVALID_OPTION', `no function "${action.function}" was given to these rules`, {
      function: action.function,
    })
  const args = action.args?.render(scope)
  await called(firing.event, contextOf(rule, args === MISSING ? undefined : args, firing, ctx))
}

function contextOf(rule: string, args: unknown, { channel, offset, key }: Firing, ctx: HandlerContext): CallContext {
  const { consumer, attempt, redriven } = ctx
  return {
    rule,
    args,
    consumer,
    channel,
    offset,
    key,
    attempt,
    redriven,
    log: ctx.log,
    get signal(): AbortSignal {
      return ctx.signal
    },
    emit: (target, event, options) => ctx.emit(target, event, options),
    reject: (reason) => ctx.reject(reason),
    retryAfter: (delay, reason) => ctx.retryAfter(delay, reason),
  }
}
