/** Performs the `emit` and `forward` actions: makes the event, and publishes it. */
import type { UntypedEvent } from '../../broker/broker.ts'
import type { HandlerContext } from '../../consumer/consumer-types.ts'
import { nextHops, passedEvent } from '../../outbound/passed-event.ts'
import type { ActedOn } from '../firing.ts'
import type { TemplateScope } from '../template/template.ts'
import { MISSING, TemplateFailure } from '../template/template-value.ts'
import type { EmitAction, ForwardAction } from './action.ts'

export function scopeOf({ event, channel, offset, key }: Omit<ActedOn, 'text'>, rule: string): TemplateScope {
  const { offset: _, ...attributes } = event
  return { event: attributes, facts: { channel, offset, key, rule } }
}

/** The event that an action publishes. @throws TemplateFailure */
export function publishedBy(
  action: EmitAction | ForwardAction,
  { event, text }: ActedOn,
  scope: TemplateScope,
): UntypedEvent {
  const rulehops = nextHops(event)
  if (action.kind === 'forward') return passedEvent(text, { rulehops }) as unknown as UntypedEvent
  const type = action.type.render(scope)
  if (type === undefined) throw new TemplateFailure('the type of the event to emit is empty')
  const made: Record<string, unknown> = { type, rulehops }
  for (const [name, template] of action.attributes) {
    const value = template.render(scope)
    if (value !== undefined) made[name] = value
  }
  const data = action.data === null ? MISSING : action.data.render(scope)
  if (data !== MISSING) made['data'] = data
  return made as unknown as UntypedEvent
}

/** Publishes the event together with the completion of the matched event. */
export async function performPublish(
  action: EmitAction | ForwardAction,
  on: ActedOn,
  rule: string,
  ctx: HandlerContext,
): Promise<void> {
  const published = publishedBy(action, on, scopeOf(on, rule))
  const delayMs = action.kind === 'emit' ? action.delayMs : null
  await (delayMs === null
    ? ctx.emit(action.channel, published)
    : ctx.emit(action.channel, published, { delay: delayMs }))
}
