/**
 * The actions of a rule, parsed from data and checked. The other files of this folder perform them.
 *
 * `emit` and `forward` take effect together with the completion of the event that the rule matched. Every `http` and
 * `call` action has its own queue and consumer, so that a failing or slow action delays nothing else.
 */
import { LIMITS } from '../../base/limits.ts'
import { checkName } from '../../base/names.ts'
import { durationMs } from '../../base/units.ts'
import { isRecord, membersOf, refuseRule, shown, textOf, within } from '../rule-error.ts'
import { compileTemplate, compileTextTemplate, type Template, type TextTemplate } from '../template/template.ts'
import { type HttpAction, parseHttp } from './http-form.ts'
import { LIMITED_MEMBERS, type Limited, limitsOf } from './limited.ts'

export interface EmitAction {
  readonly kind: 'emit'
  /** Names the action within the rule: `emit`, then `emit-2` for the second action of that kind. */
  readonly id: string
  readonly channel: string
  /** Create the channel if it does not exist, as a channel that carries every event type. */
  readonly create: 'stream' | 'queue' | null
  readonly type: TextTemplate
  readonly data: Template | null
  /** The attributes of the new event: `subject`, `source`, `id`, `time`, `partitionkey`, extensions. */
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

export type Action = EmitAction | ForwardAction | HttpAction | CallAction | DropAction

const KINDS = ['emit', 'forward', 'http', 'call', 'drop'] as const
type Kind = (typeof KINDS)[number]
const ATTRIBUTE = /^[a-z0-9]{1,40}$/
const BARRED = new Set(['specversion', 'type', 'data', 'datacontenttype', 'data_base64'])

/** The actions of a rule, after all checks. @throws INVALID_RULE when one is malformed */
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
    refuseRule('then', '"drop" must be the only action of its rule, because then no rule acts on the event')
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
    return {
      ...parseHttp(body, path, LIMITED_MEMBERS),
      id,
      ...limitsOf(body as Readonly<Record<string, unknown>>, path),
    }
  },
  call: parseCall,
  drop: (body, path, id) =>
    body === true ? { kind: 'drop', id } : refuseRule(path, 'write "drop" or { "drop": true }'),
}

function channelOf(value: unknown, path: string): string {
  if (typeof value === 'string' && value.startsWith('$'))
    return refuseRule(path, 'only Millrace itself writes to channels that begin with "$"')
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
    typeof body === 'string' ? { function: body } : membersOf(body, path, ['function', 'with', ...LIMITED_MEMBERS])
  const args = (form as { readonly with?: unknown }).with
  return {
    kind: 'call',
    id,
    function: textOf(form.function, `${path}.function`),
    args: args === undefined ? null : compileTemplate(args, `${path}.with`),
    ...limitsOf(form as Readonly<Record<string, unknown>>, path),
  }
}
