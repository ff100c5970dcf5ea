/**
 * What a rule does: its actions, read from data and checked. How each is performed stands in files of their own.
 *
 * `emit` and `forward` take effect with the completion of the event that the rule matched; `http` and `call` have a queue and a consumer of
 * their own, so that what fails or is slow holds up nothing else.
 */
import { LIMITS } from '../../base/limits.ts'
import { checkName } from '../../base/names.ts'
import { durationMs, wholeNumber } from '../../base/units.ts'
import type { RetryOptions } from '../../consumer/consumer-types.ts'
import { retryPolicy } from '../../consumer/retry-policy.ts'
import { parseRate, RATE_FORM, type Rate } from '../../outbound/rate.ts'
import { isRecord, membersOf, refuseRule, shown, textOf, within } from '../rule-error.ts'
import { compileTemplate, compileTextTemplate, type Template, type TextTemplate } from '../template/template.ts'
import { type HttpAction, parseHttp } from './http-form.ts'

export interface EmitAction {
  readonly kind: 'emit'
  /** Its name within the rule: its kind, with a number from the second of a kind on. */
  readonly id: string
  readonly channel: string
  /** Make the channel, if it is not there, as one that carries anything. */
  readonly create: 'stream' | 'queue' | null
  readonly type: TextTemplate
  readonly data: Template | null
  /** Attributes of the new event: `subject`, `source`, `id`, `time`, `partitionkey`, extensions. */
  readonly attributes: readonly (readonly [name: string, value: TextTemplate])[]
  readonly delayMs: number | null
}

export interface ForwardAction {
  readonly kind: 'forward'
  readonly id: string
  readonly channel: string
  readonly create: 'stream' | 'queue' | null
}

export interface CallAction extends Limited {
  readonly kind: 'call'
  readonly id: string
  readonly function: string
  readonly args: Template | null
}

export interface DropAction {
  readonly kind: 'drop'
  readonly id: string
}

/** What an action with a consumer of its own may say about it. All limits are those of one process. */
export interface Limited {
  readonly concurrency: number
  readonly rate: Rate | null
  readonly retry: RetryOptions | null
  readonly timeoutMs: number | null
}

export type Action = EmitAction | ForwardAction | HttpAction | CallAction | DropAction

const KINDS = ['emit', 'forward', 'http', 'call', 'drop'] as const
type Kind = (typeof KINDS)[number]
const ATTRIBUTE = /^[a-z0-9]{1,40}$/
const BARRED = new Set(['specversion', 'type', 'data', 'datacontenttype', 'data_base64'])

/** @throws INVALID_RULE */
export function parseActions(value: unknown): readonly Action[] {
  const list = Array.isArray(value) ? value : [value]
  if (value === undefined || list.length === 0)
    return refuseRule('then', `a rule has at least one action: ${KINDS.join(', ')}`)
  if (list.length > LIMITS.ruleActionsMax)
    return refuseRule('then', `a rule has at most ${LIMITS.ruleActionsMax} actions`)
  const count = new Map<Kind, number>()
  const actions = list.map((each, index) => {
    const path = Array.isArray(value) ? `then[${index}]` : 'then'
    const [kind, body] = kindOf(each, path)
    const number = (count.get(kind) ?? 0) + 1
    count.set(kind, number)
    return PARSERS[kind](body, `${path}.${kind}`, number === 1 ? kind : `${kind}-${number}`)
  })
  if (actions.some(({ kind }) => kind === 'drop') && actions.length > 1)
    refuseRule('then', '"drop" must be the only action of its rule: no rule acts on the event')
  return actions
}

function kindOf(value: unknown, path: string): readonly [Kind, unknown] {
  if (value === 'drop') return ['drop', true]
  const entries = isRecord(value) ? Object.entries(value) : []
  const [entry] = entries
  const kind = KINDS.find((each) => each === entry?.[0])
  if (entries.length === 1 && kind !== undefined) return [kind, entry?.[1]]
  return refuseRule(path, `an action is an object with one of ${KINDS.join(', ')}, not ${shown(value)}`)
}

const PARSERS: Readonly<Record<Kind, (body: unknown, path: string, id: string) => Action>> = {
  emit: parseEmit,
  forward: parseForward,
  http: (body, path, id) => {
    const limited = ['concurrency', 'rate', 'retry', 'timeout']
    return { ...parseHttp(body, path, limited), id, ...limitsOf(body as Readonly<Record<string, unknown>>, path) }
  },
  call: parseCall,
  drop: (body, path, id) =>
    body === true ? { kind: 'drop', id } : refuseRule(path, 'write "drop" or { "drop": true }'),
}

function channelOf(value: unknown, path: string): string {
  if (typeof value === 'string' && value.startsWith('$'))
    return refuseRule(path, 'channels that begin with "$" are written by Millrace itself')
  return within(path, () => checkName(value, 'channel'))
}

function createOf(value: unknown, path: string): 'stream' | 'queue' | null {
  if (value === undefined) return null
  return value === 'stream' || value === 'queue'
    ? value
    : refuseRule(path, `"create" is "stream" or "queue", not ${shown(value)}`)
}

function parseEmit(body: unknown, path: string, id: string): EmitAction {
  const form = membersOf(body, path, [
    'channel',
    'type',
    'data',
    'attributes',
    'key',
    'subject',
    'source',
    'delay',
    'create',
  ])
  const attributes = Object.entries(
    form['attributes'] === undefined
      ? {}
      : membersOf(form['attributes'], `${path}.attributes`, Object.keys(form['attributes'] ?? {})),
  )
  for (const [name] of attributes) {
    if (!ATTRIBUTE.test(name) || BARRED.has(name))
      refuseRule(`${path}.attributes.${name}`, 'it is not the name of an attribute: use lower-case letters and digits')
  }
  for (const [name, attribute] of [
    ['key', 'partitionkey'],
    ['subject', 'subject'],
    ['source', 'source'],
  ] as const) {
    if (form[name] !== undefined) attributes.push([attribute, form[name]])
  }
  return {
    kind: 'emit',
    id,
    channel: channelOf(form['channel'], `${path}.channel`),
    create: createOf(form['create'], `${path}.create`),
    type: compileTextTemplate(form['type'], `${path}.type`),
    data: form['data'] === undefined ? null : compileTemplate(form['data'], `${path}.data`),
    attributes: attributes.map(
      ([name, value]) => [name, compileTextTemplate(value, `${path}.attributes.${name}`)] as const,
    ),
    delayMs: form['delay'] === undefined ? null : within(`${path}.delay`, () => durationMs(form['delay'], 'delay')),
  }
}

function parseForward(body: unknown, path: string, id: string): ForwardAction {
  const form = typeof body === 'string' ? { channel: body } : membersOf(body, path, ['channel', 'create'])
  return {
    kind: 'forward',
    id,
    channel: channelOf(form['channel'], `${path}.channel`),
    create: createOf((form as { create?: unknown }).create, `${path}.create`),
  }
}

function parseCall(body: unknown, path: string, id: string): CallAction {
  const form =
    typeof body === 'string'
      ? { function: body }
      : membersOf(body, path, ['function', 'with', 'concurrency', 'rate', 'retry', 'timeout'])
  const args = (form as { readonly with?: unknown }).with
  return {
    kind: 'call',
    id,
    function: textOf(form.function, `${path}.function`),
    args: args === undefined ? null : compileTemplate(args, `${path}.with`),
    ...limitsOf(form as Readonly<Record<string, unknown>>, path),
  }
}

function limitsOf(form: Readonly<Record<string, unknown>>, path: string): Limited {
  const { concurrency = LIMITS.concurrencyDefault, rate, retry, timeout } = form
  return {
    concurrency: within(`${path}.concurrency`, () => wholeNumber(concurrency, 'concurrency', 1, LIMITS.concurrencyMax)),
    rate: rate === undefined ? null : rateOf(rate, `${path}.rate`),
    retry: retry === undefined ? null : retryOf(retry, `${path}.retry`),
    timeoutMs: timeout === undefined ? null : within(`${path}.timeout`, () => durationMs(timeout, 'timeout')),
  }
}

function rateOf(value: unknown, path: string): Rate {
  return parseRate(value) ?? refuseRule(path, `a rate is ${RATE_FORM}, not ${shown(value)}`)
}

function retryOf(value: unknown, path: string): RetryOptions {
  const form = membersOf(value, path, ['attempts', 'backoff', 'min', 'max'])
  if (typeof form['backoff'] === 'function') return refuseRule(`${path}.backoff`, '"exponential" or "fixed"')
  within(path, () => retryPolicy(form))
  return form
}
