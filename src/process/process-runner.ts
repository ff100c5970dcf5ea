/**
 * Runs a process as two consumers. The intake takes the events of its channels, finds the id of the instance, and puts
 * them into the inbox. The consumer with the process's name takes them from there and makes the steps; its state for
 * each key is the instance.
 *
 * Each hand-over is an emission, so it is in one commit with the completion: no event is lost between the two, and none
 * comes twice.
 */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { shown } from '../base/shown.ts'
import type { BrokerHost } from '../broker/broker.ts'
import { EventDecoder } from '../broker/event-decoder.ts'
import { type Consumer, consumer } from '../consumer/consumer.ts'
import type { Running, StateContext } from '../consumer/consumer-types.ts'
import type { DeliveryContext } from '../consumer/handler-context.ts'
import { decodeEvent, type Encodable } from '../event/encode.ts'
import { newId } from '../event/identity.ts'
import { copyOf } from '../event/made-now.ts'
import { End, Fired, type FiredData, type Inbox, Input, type InputData, inboxOf } from './process-inbox.ts'
import type { EventTransitions, ProcessPlan } from './process-plan.ts'
import { RunningProcess } from './running-process.ts'
import { changeOf, type SteppingHost, withoutFired } from './stepping.ts'
import { type Instance, instanceState, type StoredInstance, unchangedForm } from './stored-instance.ts'

type StepContext = StateContext<Instance | undefined, StoredInstance>

/** The consumer that makes the steps. Its state for a key is the instance with this id. */
export function stepping(plan: ProcessPlan, nowMs: () => number = () => Date.now()): Consumer<never, StepContext> {
  const inbox = inboxOf(plan)
  const { state, version, migrate, ...options } = plan.options
  const steps = new Steps(plan, inbox, { nowMs, token: () => newId() })
  return consumer(plan.name, inbox, { ...options, state: instanceState({ state, version, migrate }) })
    .on(Input, ({ data }, ctx) => steps.input(data as InputData, ctx))
    .on(Fired, ({ data }, ctx) => steps.fired(data as FiredData, ctx))
    .on(End, (_, ctx) => ctx.deleteState()) as unknown as Consumer<never, StepContext>
}

function intake(plan: ProcessPlan): Consumer {
  const inbox = inboxOf(plan)
  const { concurrency, retry, lease, drain, stall } = plan.options
  const options = Object.fromEntries(
    Object.entries({ concurrency, retry, lease, drain, stall }).filter(([, value]) => value !== undefined),
  )
  const taking = consumer(`${plan.name}.intake`, plan.channels, options)
  for (const transitions of plan.byType.values())
    taking.on(transitions.definition, (event, ctx) => {
      const id = idOf(plan, transitions, event as never)
      if (id === undefined) return undefined
      const { text, offset, channel } = (ctx as DeliveryContext).delivery
      const { offset: _, ...stored } = decodeEvent(text, offset)
      const data: InputData = { channel, offset, event: stored as InputData['event'] }
      return ctx.emit(inbox, Input(data, { partitionkey: id }))
    })
  return taking
}

/** @throws INVALID_EVENT when the function throws, or its answer cannot be an id: no other attempt can help */
function idOf({ name }: ProcessPlan, { definition, id }: EventTransitions, event: never): string | undefined {
  let found: unknown
  try {
    found = id(event)
  } catch (cause) {
    throw noId(name, definition.type, 'threw an error', cause)
  }
  if (found === undefined || found === null) return undefined
  if (typeof found === 'string' && found !== '' && Buffer.byteLength(found) <= LIMITS.keyBytesMax) return found
  throw noId(name, definition.type, `returned ${shown(found)}: an id is text of 1 to ${LIMITS.keyBytesMax} bytes`)
}

function noId(process: string, type: string, why: string, cause?: unknown): MillraceError {
  const message = `process "${process}": the id of an event "${type}" cannot be found: its function ${why}`
  return new MillraceError('INVALID_EVENT', message, { type, handled: true }, { cause })
}

class Steps {
  readonly #plan: ProcessPlan
  readonly #inbox: Inbox
  readonly #host: SteppingHost
  readonly #decoder = new EventDecoder('handled')

  constructor(plan: ProcessPlan, inbox: Inbox, host: SteppingHost) {
    this.#plan = plan
    this.#inbox = inbox
    this.#host = host
    for (const channel of plan.channels) if (typeof channel !== 'string') this.#decoder.addChannel(channel)
    for (const { definition } of plan.byType.values()) this.#decoder.addHandled(definition)
  }

  async input({ channel, offset, event: stored }: InputData, ctx: StepContext): Promise<void> {
    const transitions = this.#plan.byType.get(stored.type)
    const { id, type } = stored
    if (transitions === undefined) throw this.#unknown(type, id)
    const text = JSON.stringify(stored)
    const event = (await this.#decoder.decode({ id, type, key: ctx.key, text, offset, timeMs: 0 }, channel)) as never
    const before = ctx.state ?? null
    const { start, step, missing } = transitions
    const cause = { causationid: id, correlationid: textOf(stored['correlationid']) ?? id }
    if (before !== null)
      return step === null
        ? undefined
        : this.#apply(before, step(before.state as never, event), `"${type}"`, cause, ctx)
    if (start !== null) return this.#apply(null, start(event), `"${type}"`, cause, ctx)
    if (missing === 'dead-letter') ctx.reject(`process "${this.#plan.name}" has no instance "${ctx.key}"`)
  }

  async fired({ timer, token }: FiredData, ctx: StepContext): Promise<void> {
    const before = ctx.state === undefined ? null : withoutFired(ctx.state, timer, token)
    if (before === null) return
    const step = this.#plan.timers.get(timer)
    if (step === undefined) throw this.#unknown(`timer ${timer}`, token)
    const fired = { name: timer, id: ctx.key ?? '' }
    const answer = step(before.state as never, fired as never)
    if (answer === undefined) return ctx.setState(unchangedForm(before))
    await this.#apply(before, answer, `timer "${timer}"`, null, ctx)
  }

  /** Another version of the process has put it into the inbox: it waits for an instance of that version. */
  #unknown(type: string, id: string): MillraceError {
    const message = `process "${this.#plan.name}" has no transition for "${type}": it waits for an instance that has one`
    return new MillraceError('UNKNOWN_VERSION', message, { type, id, version: 1, newest: 0, waits: true })
  }

  async #apply(
    before: Instance | null,
    answer: unknown,
    of: string,
    cause: object | null,
    ctx: StepContext,
  ): Promise<void> {
    const change = changeOf(this.#plan, before, answer, of, this.#host)
    if (change === null) return
    if (change.instance === null) ctx.deleteState()
    else ctx.setState(change.instance)
    for (const { channel, event, options } of change.emit)
      await ctx.emit(channel as string, copyOf(event as Encodable, { ...cause, ...event }) as never, options)
    const partitionkey = ctx.key ?? ''
    for (const { name, token, delayMs } of change.timers)
      await ctx.emit(this.#inbox, Fired({ timer: name, token }, { partitionkey, id: token }), { delay: delayMs })
  }
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

export async function startProcess(plan: ProcessPlan, host: BrokerHost): Promise<Running> {
  const steps = await stepping(plan, () => host.engine.clock.now()).start(host)
  try {
    return new RunningProcess(plan.name, await intake(plan).start(host), steps)
  } catch (error) {
    await steps.stop()
    throw error
  }
}
