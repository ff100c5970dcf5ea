/** `millrace consumer`: pause, resume, rewind or remove a consumer, wherever its instances run. */
import { MillraceError } from '../base/errors.ts'
import { LIMITS } from '../base/limits.ts'
import { checkStateChoice } from '../broker/call-options.ts'
import { engineOf } from '../broker/engine-of.ts'
import { storedAt } from '../broker/stored-range.ts'
import { noteOf } from './actor.ts'
import { complete, print, printJson, table } from './output.ts'
import { changing, countOf, positionOf, type TargetOptions } from './target.ts'

export interface ReasonedOptions extends TargetOptions {
  readonly reason?: string
}

export async function consumerPauseCommand(name: string, options: ReasonedOptions): Promise<void> {
  await changing(options, (broker) => broker.consumer(name).pause(noteOf(options)))
  told({ consumer: name, paused: true }, `${name} is paused in every process until it is resumed`, options)
}

export async function consumerResumeCommand(name: string, options: ReasonedOptions): Promise<void> {
  await changing(options, (broker) => broker.consumer(name).resume(noteOf(options)))
  told({ consumer: name, paused: false }, `${name} continues`, options)
}

export interface RewindOptions extends ReasonedOptions {
  readonly to?: string
  readonly channel?: string
  readonly state?: string
}

export async function consumerRewindCommand(name: string, options: RewindOptions): Promise<void> {
  const { to, channel, state } = options
  if (to === undefined)
    throw new MillraceError(
      'INVALID_OPTION',
      'name the position: --to beginning, end, an offset, an age (1h) or a time',
      { option: 'to' },
    )
  const position = positionOf(to)
  if (state !== undefined) checkStateChoice(state)
  const only = { ...(channel !== undefined && { channel }), ...(state !== undefined && { state }) }
  await changing(options, (broker) => broker.consumer(name).rewind(position, { ...only, ...noteOf(options) }))
  told(
    { consumer: name, to, ...only },
    `${name} continues from ${to}${channel === undefined ? '' : ` in ${channel}`}`,
    options,
  )
}

export async function consumerRemoveCommand(name: string, options: ReasonedOptions): Promise<void> {
  await changing(options, (broker) => broker.consumer(name).remove(noteOf(options)))
  told({ consumer: name, removed: true }, `removed ${name}, with its positions, retries and dead letters`, options)
}

export interface RetriesOptions extends TargetOptions {
  readonly limit: string
}

export async function consumerRetriesCommand(name: string, options: RetriesOptions): Promise<void> {
  const limit = countOf('limit', options.limit, 1)
  const retries = await changing(options, async (broker) => {
    const engine = engineOf(broker)
    const found = await engine.consumers.retries(name, Math.min(limit, LIMITS.listedRetriesMax))
    const keys = await Promise.all(found.map(({ channel, offset }) => storedAt(engine, channel, offset)))
    return found.map((retry, at) => ({ ...retry, key: keys[at]?.key ?? null }))
  })
  if (options.json === true) printJson(retries)
  else {
    const rows = retries.map(({ channel, offset, key, attempts, dueAtMs, failure }) => [
      ...[channel, offset, key ?? '', attempts, new Date(dueAtMs).toISOString()],
      `${failure.name}: ${failure.message}`.slice(0, 100),
    ])
    print(table(['channel', 'offset', 'key', 'attempts', 'next', 'error'], rows))
  }
  complete(`${retries.length} event(s) of ${name} wait for another attempt`, options)
}

function told(answer: Readonly<Record<string, unknown>>, text: string, options: TargetOptions): void {
  if (options.json === true) printJson(answer)
  complete(text, options)
}
