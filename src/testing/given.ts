/**
 * `given()`: a test of one step of a process, without a broker. The transition gets the event as a handler would, and
 * its answer is checked and applied by the code that a running process uses.
 */
import assert from 'node:assert/strict'
import { MillraceError } from '../base/errors.ts'
import { shown } from '../base/shown.ts'
import type { AnyEventDefinition } from '../event/event.ts'
import { schemaOutput } from '../event/schema.ts'
import { checkProcess, type Process } from '../process/process.ts'
import type { ProcessPlan } from '../process/process-plan.ts'
import { changeOf } from '../process/stepping.ts'
import type { Instance } from '../process/stored-instance.ts'

/** An event that a step emits. */
export interface EmittedEvent {
  readonly channel: string
  readonly type: string
  readonly data: unknown
}

/** What a step does. */
export interface StepResult<State> {
  /** The state afterwards; undefined if there is no instance afterwards. */
  readonly state: State | undefined
  /** Events that are published, in order. */
  readonly emit: readonly EmittedEvent[]
  /** The names of the timers that wait afterwards, sorted. */
  readonly timers: readonly string[]
  /** `ignored`: the event changes nothing. `dead-letter`: it becomes a dead letter. */
  readonly outcome: 'stepped' | 'ended' | 'ignored' | 'dead-letter'
}

export interface GivenStep<State> {
  /** An event comes, or a timer fires that is named by text. */
  when(event: { readonly type: string; readonly data?: unknown } | string): {
    readonly result: StepResult<State>
    /** Compares the members that are given. It throws an AssertionError if one of them differs. */
    then(expected: Partial<StepResult<State>>): void
  }
}

/**
 * A test of one step: `given(process, state).when(event).then({ … })`. Without a state there is no instance. With a
 * state, the timers that wait may be named.
 *
 * @throws INVALID_OPTION when the answer of the transition is not a step, or nothing reacts to the event
 * @example
 * ```ts
 * import { event, process, stream } from 'millrace'
 * import { given } from 'millrace/testing'
 * import { z } from 'zod'
 *
 * const Placed = event('order.placed', z.object({ order: z.string() }))
 * const orders = stream('orders', { events: [Placed], key: 'data.order' })
 * const checkout = process('checkout', orders, { state: z.object({ stage: z.string() }) })
 *   .start(Placed, { id: (e) => e.data.order }, () => ({ state: { stage: 'open' }, after: { unpaid: '30m' } }))
 *   .timeout('unpaid', () => ({ done: true }))
 *
 * given(checkout).when(Placed({ order: 'o-1' })).then({ state: { stage: 'open' }, timers: ['unpaid'] })
 * given(checkout, { stage: 'open' }).when('unpaid').then({ outcome: 'ended' })
 * ```
 */
export function given<State, Next, Definition extends AnyEventDefinition>(
  process: Process<State, Next, Definition>,
  state?: Next,
  waiting: readonly string[] = [],
): GivenStep<State> {
  checkProcess(process, 'given()')
  if (!Array.isArray(waiting))
    throw new MillraceError('INVALID_OPTION', `given() takes the names of timers; this is ${shown(waiting)}`, {
      option: 'waiting',
    })
  const plan = process.plan
  const before: Instance | null =
    state === undefined
      ? null
      : {
          state: decoded(plan, plan.options.state, state),
          stored: state,
          timers: Object.fromEntries(waiting.map((name) => [name, { token: name, dueAtMs: 0 }])),
        }
  return {
    when: (event) => {
      const result = (
        typeof event === 'string' ? fired(plan, before, event) : came(plan, before, event)
      ) as StepResult<State>
      return {
        result,
        // biome-ignore lint/suspicious/noThenProperty: given, when, then; it is called at once and never awaited
        then: (expected) => {
          const names = Object.keys(expected) as (keyof StepResult<State>)[]
          assert.deepEqual(Object.fromEntries(names.map((name) => [name, result[name]])), expected)
        },
      }
    },
  }
}

function came(
  plan: ProcessPlan,
  before: Instance | null,
  event: { readonly type: string; readonly data?: unknown },
): StepResult<unknown> {
  const transitions = plan.byType.get(event.type)
  if (transitions === undefined) throw unknown(plan, `event "${event.type}"`)
  const { definition, start, step, missing } = transitions
  const data = definition.schema === undefined ? event.data : decoded(plan, definition.schema, event.data)
  const got = { ...event, data } as never
  if (before !== null)
    return step === null
      ? unchanged(before, 'ignored')
      : changed(plan, before, step(before.state as never, got), event.type)
  if (start !== null) return changed(plan, null, start(got), event.type)
  return unchanged(null, missing === 'dead-letter' ? 'dead-letter' : 'ignored')
}

function fired(plan: ProcessPlan, before: Instance | null, name: string): StepResult<unknown> {
  const step = plan.timers.get(name)
  if (step === undefined) throw unknown(plan, `timer "${name}"`)
  if (before === null) return unchanged(null, 'ignored')
  const { [name]: _, ...timers } = before.timers
  const left = { ...before, timers }
  return changed(plan, left, step(left.state as never, { name, id: 'given' } as never), `timer "${name}"`)
}

function changed(plan: ProcessPlan, before: Instance | null, answer: unknown, of: string): StepResult<unknown> {
  let token = 0
  const change = changeOf(plan, before, answer, of, { nowMs: () => 0, token: () => String(token++) })
  if (change === null) return unchanged(before, 'stepped')
  const emit = change.emit.map(({ channel, event }): EmittedEvent => {
    const { type, data } = event as { readonly type: string; readonly data?: unknown }
    return { channel: typeof channel === 'string' ? channel : channel.name, type, data }
  })
  if (change.instance === null) return { ...unchanged(null, 'ended'), emit }
  const instance = { ...change.instance, state: decoded(plan, plan.options.state, change.instance.state) }
  return { ...unchanged(instance, 'stepped'), emit }
}

function unchanged(
  instance: Pick<Instance, 'state' | 'timers'> | null,
  outcome: StepResult<unknown>['outcome'],
): StepResult<unknown> {
  return { state: instance?.state, emit: [], timers: Object.keys(instance?.timers ?? {}).sort(), outcome }
}

function decoded({ name }: ProcessPlan, schema: ProcessPlan['options']['state'], value: unknown): unknown {
  const output = schemaOutput(schema, value, { type: name }, 'handled')
  if (!(output instanceof Promise)) return output
  output.catch(() => undefined)
  throw new MillraceError(
    'INVALID_OPTION',
    `given() of process "${name}" does not wait for a schema that validates asynchronously: test it with testBroker()`,
    { consumer: name },
  )
}

function unknown({ name }: ProcessPlan, what: string): MillraceError {
  return new MillraceError('INVALID_OPTION', `process "${name}" has no transition for ${what}`, { consumer: name })
}
