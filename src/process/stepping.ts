/**
 * One step of an instance: what its transition answered is checked and applied. Nothing here waits, stores or
 * publishes, so tests of a definition use the same code.
 */
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import { promiseOf, watchAnswer } from '../base/thrown.ts'
import { durationMs, knownOptions } from '../base/units.ts'
import type { ProcessPlan } from './process-plan.ts'
import type { Outgoing, Step } from './process-types.ts'
import type { Instance, StoredInstance, StoredTimer } from './stored-instance.ts'

/** A timer to set. */
export interface NewTimer extends StoredTimer {
  readonly name: string
  readonly delayMs: number
}

/** What a step changes. */
export interface Change {
  /** The instance afterwards; null if it has ended. */
  readonly instance: StoredInstance | null
  readonly emit: readonly Outgoing[]
  readonly timers: readonly NewTimer[]
}

export interface SteppingHost {
  nowMs(): number
  /** A text that no other timer has. */
  token(): string
}

/**
 * The change that an answer means for an instance; `before` is null where the answer begins one. Null if nothing
 * changes.
 * @throws INVALID_OPTION when the answer is not one
 */
export function changeOf(
  plan: ProcessPlan,
  before: Instance | null,
  answer: unknown,
  of: string,
  host: SteppingHost,
): Change | null {
  const refuse = (why: string): never => {
    throw new MillraceError('INVALID_OPTION', `process "${plan.name}": the transition of ${of} ${why}`, {
      consumer: plan.name,
    })
  }
  if (answer === undefined && before !== null) return null
  if (promiseOf(answer) !== null) {
    watchAnswer(answer)
    refuse('returned a promise: a transition only computes. Let a consumer do the work, and emit an event for it')
  }
  if (typeof answer !== 'object' || answer === null) return refuse(`returned ${shown(answer)}, not a step`)
  knownOptions(
    answer,
    ['state', 'emit', 'after', 'cancel', 'done'],
    `the transition of ${of} in process "${plan.name}"`,
  )
  const { state = before?.stored, emit = [], after = {}, cancel = [], done = false } = answer as Step<unknown>
  if (!Array.isArray(emit) || !emit.every(isOutgoing))
    refuse('returned an emit that is not a list of to(channel, event)')
  if (!Array.isArray(cancel)) refuse(`returned ${shown(cancel)} as cancel, not a list of timers`)
  if (state === undefined && !done) refuse('begins an instance without a state')
  const timers = Object.entries(after).map(([name, delay]): NewTimer => {
    if (!plan.timers.has(name)) refuse(`sets the timer "${name}", for which there is no timeout()`)
    const delayMs = durationMs(delay, `after.${name}`)
    return { name, delayMs, token: host.token(), dueAtMs: host.nowMs() + delayMs }
  })
  if (done) return { instance: null, emit, timers: [] }
  const left = Object.entries(before?.timers ?? {}).filter(([name]) => !cancel.includes(name))
  const set = timers.map(({ name, token, dueAtMs }) => [name, { token, dueAtMs }] as const)
  return { instance: { state, timers: Object.fromEntries([...left, ...set]) }, emit, timers }
}

/** The instance without a timer that has fired; null if the timer was cancelled, replaced, or never set. */
export function withoutFired(instance: Instance, name: string, token: string): Instance | null {
  const { [name]: timer, ...timers } = instance.timers
  return timer?.token === token ? { ...instance, timers } : null
}

function isOutgoing(value: unknown): value is Outgoing {
  const { channel, event, options } = (value ?? {}) as Partial<Outgoing>
  return channel !== undefined && typeof event === 'object' && event !== null && typeof options === 'object'
}
