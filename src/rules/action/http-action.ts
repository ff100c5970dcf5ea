/** Performs the `http` action: makes the request for an event, and sends it by `outbound/signed-message.ts`. */
import { MillraceError } from '../../base/errors.ts'
import { LIMITS } from '../../base/limits.ts'
import { carriedTrace } from '../../event/trace-context.ts'
import { STRUCTURED_UTF8, structuredBody } from '../../outbound/passed-event.ts'
import { messageId, type NamedSecret, type Sender, sendSigned } from '../../outbound/signed-message.ts'
import type { ActedOn, Firing } from '../firing.ts'
import type { TemplateScope } from '../template/template.ts'
import { MISSING, TemplateFailure } from '../template/template-value.ts'
import type { HttpAction } from './http-form.ts'

export interface HttpHost extends Sender {
  /** Looks up the secret for a name such as `env:HOOK_SECRET`. */
  readonly secret: (name: string) => string | undefined
  /** A number from 0 to 1, for jitter. */
  readonly random: () => number
}

export interface HttpPreview {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The request of the action for an event, without the signature. @throws TemplateFailure */
export function httpRequestOf(action: HttpAction, on: Pick<ActedOn, 'text'>, scope: TemplateScope): HttpPreview {
  const headers: Record<string, string> = {
    'user-agent': 'millrace',
    'content-type': action.body === null ? STRUCTURED_UTF8 : 'application/json',
    ...carriedTrace(on.text),
  }
  for (const [name, template] of action.headers) {
    const value = template.render(scope)
    if (value === undefined) continue
    if (!/^[\t\x20-\x7e]*$/.test(value))
      throw new TemplateFailure(`the header "${name}" would hold characters that a header cannot carry`)
    headers[name] = value
  }
  return { method: action.method, url: urlOf(action, scope), headers, body: bodyOf(action, on, scope) }
}

/**
 * The URL for an event. Dot segments from the event are refused: they would lead to another path. @throws
 * TemplateFailure
 */
function urlOf({ url }: HttpAction, scope: TemplateScope): string {
  const text = url.render(scope) ?? ''
  const [path = ''] = text.split(/[?#]/, 1)
  if (url.fixed === undefined && path.split('/').some((segment) => /^(?:\.|%2e){1,2}$/i.test(segment))) {
    throw new TemplateFailure(`an event may not fill in "." or ".." as a part of the path: the URL would be ${text}`)
  }
  return text
}

function bodyOf(action: HttpAction, { text }: Pick<ActedOn, 'text'>, scope: TemplateScope): string {
  if (action.body === null) return structuredBody(text)
  const value = action.body.render(scope)
  return JSON.stringify(value === MISSING ? null : value)
}

/** @throws INVALID_OPTION · FORBIDDEN */
function secretsOf({ secrets }: HttpAction, host: HttpHost): NamedSecret[] {
  return secrets.map((name) => {
    const value = host.secret(name)
    if (value === undefined || value === '')
      throw new MillraceError('FORBIDDEN', `the secret "${name}" is not known to this process`, { secret: name })
    return { name, value }
  })
}

/**
 * Sends the request of an `http` action.
 * @throws TemplateFailure · ReceiverGone · ReceiverBusy · FORBIDDEN · UNAVAILABLE
 */
export async function performHttp(
  rule: string,
  action: HttpAction,
  firing: Firing,
  scope: TemplateScope,
  signal: AbortSignal,
  host: HttpHost,
): Promise<void> {
  const { channel, offset } = firing
  const id = messageId(rule, action.id, channel, String(offset))
  const timeoutMs = action.timeoutMs ?? LIMITS.httpTimeoutMsDefault
  await sendSigned(
    { ...httpRequestOf(action, firing, scope), timeoutMs, id, secrets: secretsOf(action, host) },
    signal,
    host,
  )
}
