/** `millrace consumer`: pause, resume, rewind or remove a consumer, wherever its instances run. */
import { MillraceError } from '../base/errors.ts'
import { checkStateChoice } from '../broker/call-options.ts'
import { noteOf } from './actor.ts'
import { complete, printJson } from './output.ts'
import { changing, positionOf, type TargetOptions } from './target.ts'

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

function told(answer: Readonly<Record<string, unknown>>, text: string, options: TargetOptions): void {
  if (options.json === true) printJson(answer)
  complete(text, options)
}
