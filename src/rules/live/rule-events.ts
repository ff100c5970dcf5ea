/**
 * The channel `$rules`, which stores the rules: every change is an event there. The events from the beginning give the
 * current rules and their history. Nothing else is stored.
 *
 * A change is two events: the new version of the rule, and then `rules.effective`, with the first offset of each
 * channel to which the change applies. These offsets are read after the change is stored. So no process can have
 * handled an event at or after them without the change.
 */
import { MillraceError } from '../../base/errors.ts'
import { type Stream, stream } from '../../channel/channel.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import { event } from '../../event/event.ts'
import type { RuleDefinition } from '../rule.ts'
import { isRecord } from '../rule-error.ts'

/** The author and the reason of a change, and the file from which it came. */
export interface ChangeNote {
  readonly author: string
  readonly reason?: string
  /** The file of a watched folder. */
  readonly file?: { readonly folder: string; readonly path: string; readonly digest: string }
}

export interface RuleChange extends ChangeNote {
  readonly name: string
  /** `null`: the rule was removed. */
  readonly rule: RuleDefinition | null
  readonly enabled: boolean
}

export interface RulesEffective {
  /** The last offset of `$rules` whose change became effective, with all earlier ones that were not yet effective. */
  readonly through: number
  /** The first offset of each channel to which the changes apply; a channel that is absent did not exist. */
  readonly offsets: Readonly<Record<string, number>>
}

/** An action has a queue now. Processes that can perform the action start its consumer. */
export interface RuleQueued {
  readonly name: string
  readonly action: string
}

/** A file that was refused. */
export interface RuleRefused {
  readonly folder: string
  readonly path: string
  readonly digest: string
  /** `null`: the file is correct again, or was removed. */
  readonly reason: string | null
  /** Rules from an earlier version of the file, which stay in force. */
  readonly kept: readonly string[]
}

/** The event types of changes. The data of each is a `RuleChange`. */
export const CHANGE_TYPES: readonly ['rule.added', 'rule.changed', 'rule.enabled', 'rule.disabled', 'rule.removed'] = [
  'rule.added',
  'rule.changed',
  'rule.enabled',
  'rule.disabled',
  'rule.removed',
]
export type ChangeType = (typeof CHANGE_TYPES)[number]

/** The event type that carries `RulesEffective`. */
export const EFFECTIVE = 'rules.effective'
const OTHER_TYPES = [EFFECTIVE, 'rule.queued', 'rule.refused'] as const

const definitions = [...CHANGE_TYPES, ...OTHER_TYPES].map((type) => event(type))

/** The channel of all changes. Its events are never removed. */
export const rulesChannel: Stream = stream('$rules', {
  events: definitions,
  key: (each) => (each.data as { readonly name?: string }).name,
})

/** Whether an event is a valid change of a rule. An event with the type of a change but malformed data is ignored. */
export function isChange(candidate: StoredEvent): candidate is StoredEvent<ChangeType, RuleChange> {
  if (!(CHANGE_TYPES as readonly string[]).includes(candidate.type) || !isRecord(candidate.data)) return false
  const { name, rule, enabled, author, file } = candidate.data
  const named = typeof name === 'string' && typeof author === 'string' && typeof enabled === 'boolean'
  return (
    named && (rule === null || isRecord(rule)) && (file === undefined || areTexts(file, ['folder', 'path', 'digest']))
  )
}

export function effectiveIn({ type, data }: StoredEvent): RulesEffective | null {
  if (type !== EFFECTIVE || !isRecord(data) || !isRecord(data['offsets'])) return null
  const numbers = [data['through'], ...Object.values(data['offsets'])].every((each) => typeof each === 'number')
  return numbers ? (data as unknown as RulesEffective) : null
}

export function queuedIn({ type, data }: StoredEvent): RuleQueued | null {
  return type === 'rule.queued' && areTexts(data, ['name', 'action']) ? (data as RuleQueued) : null
}

export function refusedIn({ type, data }: StoredEvent): RuleRefused | null {
  if (type !== 'rule.refused' || !areTexts(data, ['folder', 'path', 'digest'])) return null
  const { reason, kept } = data as RuleRefused
  return (reason === null || typeof reason === 'string') && Array.isArray(kept) ? (data as RuleRefused) : null
}

function areTexts(value: unknown, names: readonly string[]): boolean {
  return isRecord(value) && names.every((name) => typeof value[name] === 'string')
}

export function unknownRule(name: string): MillraceError {
  return new MillraceError('UNKNOWN_RULE', `there is no rule "${name}": list the rules, and correct the name`, {
    rule: name,
  })
}
