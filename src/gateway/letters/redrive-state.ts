/**
 * A redrive as it is stored: what it is to do, how far it is, and what became of the letters. A process that dies while
 * it runs a redrive leaves this state, and another process continues from it.
 */
import { isJsonObject, isNumberFrom } from '../../base/json-object.ts'
import { isName } from '../../base/names.ts'
import type { EventPlace } from '../../broker/description.ts'

export interface RedrivePlan {
  readonly consumer: string
  /** What is done with the letters: they are given back to the consumer, or they are deleted. */
  readonly action: 'redrive' | 'drop'
  /** The failure whose letters are redriven; null for every failure. */
  readonly fingerprint: string | null
  readonly channel: string | null
  readonly key: string | null
  readonly perSecond: number
  /** False: the redrive begins with its full rate. */
  readonly canary: boolean
}

/** A job that was asked for: the event in the queue of jobs. */
export interface RedriveOrder {
  readonly id: string
  readonly plan: RedrivePlan
  readonly by: string
  readonly reason: string | null
  readonly startedMs: number
}

/**
 * `waiting` and `counting` come first. A redrive whose error came back is `returned`, also until its last letters are
 * settled.
 */
export const PHASES = ['waiting', 'counting', 'one', 'ten', 'all', 'done', 'stopped', 'returned', 'failed'] as const

export type RedrivePhase = (typeof PHASES)[number]

/**
 * One death of an event. An event that is redriven and dies again has another death: the same place, and a later time.
 */
export interface Death extends EventPlace {
  readonly deadAtMs: number
}

/** A letter that was given back and is dead again. */
export interface Return extends EventPlace {
  readonly fingerprint: string
  readonly name: string
  readonly message: string
}

export interface RedriveState extends RedriveOrder {
  readonly phase: RedrivePhase
  readonly endedMs: number | null
  readonly problem: string | null
  /** The name of the process as the runner of this job: a new one each time that a process takes the job. */
  readonly runner: string
  /** How many times a process took it. */
  readonly runs: number
  /** Letters that match, as they were counted at the beginning. */
  readonly total: number
  /** The last death of the counted letters: later deaths are not in the plan. Null: they are still being counted. */
  readonly untilMs: number | null
  /** Letters up to this place were looked at. */
  readonly after: EventPlace | null
  /** How many letters were given back, or deleted. */
  readonly redriven: number
  readonly done: number
  /** How many were given back and are dead again. */
  readonly back: number
  /** The first of those that are dead again. */
  readonly returns: readonly Return[]
  /** The letters of the step under way. After a crash it is not known which of them were given back. */
  readonly giving: readonly Death[]
  /** Letters that were given back, and are neither done nor dead again, as far as is known. */
  readonly open: readonly Death[]
  /** When the state was stored. */
  readonly atMs: number
}

export function initialState(order: RedriveOrder): RedriveState {
  return {
    ...order,
    phase: 'waiting',
    endedMs: null,
    problem: null,
    runner: '',
    runs: 0,
    total: 0,
    untilMs: null,
    after: null,
    redriven: 0,
    done: 0,
    back: 0,
    returns: [],
    giving: [],
    open: [],
    atMs: order.startedMs,
  }
}

/** What the API tells of a redrive. */
export interface RedriveProgress extends RedrivePlan {
  readonly id: string
  readonly by: string
  readonly reason: string | null
  readonly startedMs: number
  readonly endedMs: number | null
  readonly phase: RedrivePhase
  readonly total: number
  readonly redriven: number
  readonly done: number
  readonly back: number
  /** Letters that were given back and are neither done nor dead again yet. */
  readonly open: number
  /** Letters of the plan that are still to be redriven. */
  readonly left: number
  /** Letters of the plan that others redrove or dropped meanwhile. */
  readonly gone: number
  readonly returns: readonly Return[]
  readonly problem: string | null
  /** How many processes have run it. */
  readonly runs: number
  /** When it was heard of last. */
  readonly atMs: number
}

export function progressOf(state: RedriveState): RedriveProgress {
  const { plan, open, giving, total, redriven, phase, runs, endedMs } = state
  const given = redriven + giving.length
  const rest = Math.max(0, total - given)
  const { id, by, reason, startedMs, done, back, returns, problem, atMs } = state
  return {
    ...plan,
    ...{ id, by, reason, startedMs, endedMs, phase, total, redriven: given, done, back },
    open: open.length + giving.length,
    left: phase === 'done' ? 0 : rest,
    gone: phase === 'done' ? rest : 0,
    ...{ returns, problem, runs, atMs },
  }
}

/** The order that an event of the queue of jobs contains; null if the event is not an order. */
export function orderIn(data: unknown): RedriveOrder | null {
  if (!isJsonObject(data)) return null
  const { id, plan, by, reason, startedMs } = data
  const whole =
    typeof id === 'string' &&
    isPlan(plan) &&
    typeof by === 'string' &&
    isTextOrNull(reason) &&
    isNumberFrom(startedMs, 0)
  return whole ? (data as unknown as RedriveOrder) : null
}

/** The state that an event contains; null if the event is not a state. */
export function stateIn(data: unknown): RedriveState | null {
  const order = orderIn(data)
  if (order === null) return null
  const state = order as Partial<Record<keyof RedriveState, unknown>>
  const numbers = ['runs', 'total', 'redriven', 'done', 'back', 'atMs'] as const
  const whole =
    PHASES.includes(state.phase as RedrivePhase) &&
    typeof state.runner === 'string' &&
    numbers.every((name) => isNumberFrom(state[name], 0)) &&
    [state.endedMs, state.untilMs].every((value) => value === null || isNumberFrom(value, 0)) &&
    isTextOrNull(state.problem) &&
    (state.after === null || isPlace(state.after)) &&
    [state.giving, state.open].every((list) => Array.isArray(list) && list.every(isDeath)) &&
    Array.isArray(state.returns)
  return whole ? (order as RedriveState) : null
}

function isPlan(value: unknown): value is RedrivePlan {
  if (!isJsonObject(value)) return false
  const { consumer, action, fingerprint, channel, key, perSecond, canary } = value
  return (
    isName(consumer) &&
    (action === 'redrive' || action === 'drop') &&
    [fingerprint, channel, key].every(isTextOrNull) &&
    isNumberFrom(perSecond, 1) &&
    typeof canary === 'boolean'
  )
}

function isTextOrNull(value: unknown): value is string | null {
  return value === null || typeof value === 'string'
}

function isPlace(value: unknown): value is EventPlace {
  return isJsonObject(value) && isName(value['channel']) && isNumberFrom(value['offset'], 0)
}

function isDeath(value: unknown): value is Death {
  return isPlace(value) && isNumberFrom((value as Partial<Death>).deadAtMs, 0)
}
