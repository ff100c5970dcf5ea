/**
 * The channel `$rules`, on which rules live: every change is an event there, so the history of each rule, with its author, is the channel
 * itself. Whoever folds it from the beginning has the rules; nothing else is stored anywhere.
 *
 * A change is two events: what is to hold, and then `rules.effective`, from which offset of each channel on. The offsets are read after the
 * change is stored, so that no event at or behind them can have been handled by one who could not know of the change.
 */
import { MillraceError } from '../../base/errors.ts'
import { type Stream, stream } from '../../channel/channel.ts'
import type { StoredEvent } from '../../event/cloud-event.ts'
import { event } from '../../event/event.ts'
import type { RuleDefinition } from '../rule.ts'
import { isRecord } from '../rule-error.ts'

/** Who changed a rule, why, and where the rule came from. */
export interface ChangeNote {
  readonly author: string
  readonly reason?: string
  /** The file of a watched folder. */
  readonly file?: { readonly folder: string; readonly path: string; readonly digest: string }
}

export interface RuleChange extends ChangeNote {
  readonly name: string
  /** `null`: removed. */
  readonly rule: RuleDefinition | null
  readonly enabled: boolean
}

export interface RulesEffective {
  /** All changes up to this offset of `$rules` that were not yet effective. */
  readonly through: number
  /** The first offset of each channel to which they apply; a channel that is not here did not exist. */
  readonly offsets: Readonly<Record<string, number>>
}

/** An action has a queue now: whoever can perform it starts to. */
export interface RuleQueued {
  readonly name: string
  readonly action: string
}

/** A file that was not taken up. */
export interface RuleRefused {
  readonly folder: string
  readonly path: string
  readonly digest: string
  /** `null`: it is in order again, or gone. */
  readonly reason: string | null
  /** Rules that came from it before, and go on. */
  readonly kept: readonly string[]
}

/** What kind of change an event is; all carry a `RuleChange`. */
export const CHANGE_TYPES: readonly ['rule.added', 'rule.changed', 'rule.enabled', 'rule.disabled', 'rule.removed'] = [
  'rule.added',
  'rule.changed',
  'rule.enabled',
  'rule.disabled',
  'rule.removed',
]
export type ChangeType = (typeof CHANGE_TYPES)[number]

const OTHER_TYPES = ['rules.effective', 'rule.queued', 'rule.refused'] as const

const definitions = [...CHANGE_TYPES, ...OTHER_TYPES].map((type) => event(type))

/** The channel of all changes of rules; nothing in it is ever removed. */
export const rulesChannel: Stream = stream('$rules', {
  events: definitions,
  key: (each) => (each.data as { readonly name?: string }).name,
})

/** Whether an event is a change of a rule. What bears its type and does not hold what it must is none, whoever wrote it: it is passed over. */
export function isChange(candidate: StoredEvent): candidate is StoredEvent<ChangeType, RuleChange> {
  if (!(CHANGE_TYPES as readonly string[]).includes(candidate.type) || !isRecord(candidate.data)) return false
  const { name, rule, enabled, author, file } = candidate.data
  const named = typeof name === 'string' && typeof author === 'string' && typeof enabled === 'boolean'
  return (
    named && (rule === null || isRecord(rule)) && (file === undefined || areTexts(file, ['folder', 'path', 'digest']))
  )
}

export function effectiveIn({ type, data }: StoredEvent): RulesEffective | null {
  if (type !== 'rules.effective' || !isRecord(data) || !isRecord(data['offsets'])) return null
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
