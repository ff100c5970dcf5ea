/**
 * The `http` action as data. The rule fixes scheme, host and port; an event may fill in path, query, headers and body.
 */
import { LIMITS } from '../../base/limits.ts'
import { isRecord, membersOf, refuseRule, shown } from '../rule-error.ts'
import { compileTemplate, compileTextTemplate, type Template, type TextTemplate } from '../template/template.ts'
import { percentEncoded } from '../template/template-value.ts'
import type { Limited } from './limited.ts'

export interface HttpForm {
  readonly kind: 'http'
  readonly url: TextTemplate
  readonly method: 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  readonly headers: readonly (readonly [name: string, value: TextTemplate])[]
  /** `null`: the CloudEvent itself, in the structured mode. */
  readonly body: Template | null
  /** Names of the secrets that sign the request: two while a secret is replaced. */
  readonly secrets: readonly string[]
}

export interface HttpAction extends HttpForm, Limited {
  readonly id: string
}

const METHODS = ['POST', 'PUT', 'PATCH', 'DELETE'] as const
const HEADER = /^[a-z0-9!#$%&'*+.^_`|~-]+$/
/** Headers that HTTP or the signature sets. */
const BARRED_HEADERS = new Set([
  'host',
  'content-length',
  'transfer-encoding',
  'connection',
  'keep-alive',
  'upgrade',
  'te',
  'trailer',
  'expect',
  'proxy-authorization',
])

/**
 * The `http` action as data, after all checks. `others` names further members that the action may have; the caller
 * reads them.
 * @throws INVALID_RULE when it is malformed
 */
export function parseHttp(body: unknown, path: string, others: readonly string[]): HttpForm {
  const form = membersOf(typeof body === 'string' ? { url: body } : body, path, [
    'url',
    'method',
    'headers',
    'body',
    'secret',
    ...others,
  ])
  const { method = 'POST', headers = {}, secret } = form
  const known = METHODS.find((each) => each === method)
  if (known === undefined) return refuseRule(`${path}.method`, `one of ${METHODS.join(', ')}, not ${shown(method)}`)
  if (!isRecord(headers)) return refuseRule(`${path}.headers`, `an object is needed, not ${shown(headers)}`)
  return {
    kind: 'http',
    url: urlOf(form['url'], `${path}.url`),
    method: known,
    headers: Object.entries(headers).map(
      ([name, value]) =>
        [headerName(name, `${path}.headers`), compileTextTemplate(value, `${path}.headers.${name}`)] as const,
    ),
    body: form['body'] === undefined ? null : compileTemplate(form['body'], `${path}.body`),
    secrets:
      secret === undefined
        ? []
        : (Array.isArray(secret) ? secret : [secret]).map((each, index) => secretOf(each, `${path}.secret[${index}]`)),
  }
}

/** Scheme, host and port must precede the first expression, so that no event chooses the receiver of a request. */
function urlOf(value: unknown, path: string): TextTemplate {
  const template = compileTextTemplate(value, path, percentEncoded)
  const origin = /^https?:\/\/[^/?#\s\\]+/i.exec(template.head)?.[0]
  const rest = origin === undefined ? '' : template.head.slice(origin.length)
  if (origin === undefined || (template.fixed === undefined && rest === '') || !URL.canParse(origin)) {
    return refuseRule(
      path,
      `a URL begins with http:// or https://, a host and a path, before any {{ }}; it is ${shown(value)}`,
    )
  }
  const { username, password } = new URL(origin)
  if (username !== '' || password !== '')
    return refuseRule(
      path,
      'a URL must not contain a name or a password: everybody who may read the rule could read them',
    )
  return template
}

function headerName(name: string, path: string): string {
  const lower = name.toLowerCase()
  if (!HEADER.test(lower) || lower.startsWith('webhook-'))
    return refuseRule(path, `${shown(name)} is not the name of a header`)
  return BARRED_HEADERS.has(lower) ? refuseRule(path, `a rule may not set the header ${shown(name)}`) : lower
}

/** A rule names its secrets and does not contain them, because everybody with access to `$rules` can read it. */
function secretOf(value: unknown, path: string): string {
  const name = typeof value === 'string' ? /^env:([A-Za-z_][A-Za-z0-9_]*)$/.exec(value)?.[1] : undefined
  if (name !== undefined && name.length <= LIMITS.nameCharsMax) return `env:${name}`
  return refuseRule(path, 'name a secret, such as "env:HOOK_SECRET"; never write a secret into a rule')
}
