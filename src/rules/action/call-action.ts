/** Performs the `call` action: calls a function that the application registered by name. */
import { MillraceError } from '../../base/errors.ts'
import type { HandlerContext } from '../../consumer/consumer-types.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import type { Firing } from '../firing.ts'
import type { TemplateScope } from '../template/template.ts'
import { MISSING } from '../template/template-value.ts'
import type { CallAction } from './action.ts'

/** The second argument of a function that a rule calls. */
export interface CallContext extends HandlerContext {
  readonly rule: string
  /** The member `with` of the action, rendered for the event; `undefined` if the action has none. */
  readonly args: unknown
}

/** A function that rules may call. If it throws, the attempt has failed, as with a handler. */
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
    throw new MillraceError(
      'INVALID_OPTION',
      `the rules of this process have no function "${action.function}": pass it to startRules in functions`,
      {
        function: action.function,
      },
    )
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
    tx: (database, work, options) => ctx.tx(database, work, options),
    reply: (event) => ctx.reply(event),
    reject: (reason) => ctx.reject(reason),
    retryAfter: (delay, reason) => ctx.retryAfter(delay, reason),
  }
}
