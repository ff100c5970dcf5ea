/** `millrace dead`: the events that a consumer gave up on. */
import { MillraceError } from '../base/errors.ts'
import type { DeadLetter, DeadLetterQuery } from '../broker/description.ts'
import { noteOf } from './actor.ts'
import { colour, complete, print, printJson, table } from './output.ts'
import { changing, countOf, looking, type TargetOptions } from './target.ts'

export interface DeadOptions extends TargetOptions {
  readonly channel?: string
  readonly offset?: string
  readonly id?: string
  readonly key?: string
  readonly limit?: string
  readonly all?: boolean
  readonly reason?: string
}

function queryOf(options: DeadOptions): DeadLetterQuery {
  return {
    ...(options.channel !== undefined && { channel: options.channel }),
    ...(options.offset !== undefined && { offset: countOf('offset', options.offset) }),
    ...(options.id !== undefined && { id: options.id }),
    ...(options.key !== undefined && { key: options.key }),
    ...(options.limit !== undefined && { limit: countOf('limit', options.limit, 1) }),
  }
}

export async function deadListCommand(consumer: string, options: DeadOptions): Promise<void> {
  const letters = await looking(options, (broker) => broker.deadLetters(consumer).list(queryOf(options)))
  if (options.json === true) printJson(letters)
  else print(table(['channel', 'offset', 'type', 'key', 'attempts', 'waiting', 'since', 'error'], letters.map(rowOf)))
  complete(`${letters.length} dead letter(s) of ${consumer}`, options)
}

function rowOf(letter: DeadLetter): (string | number)[] {
  const { channel, offset, type, key, attempts, waiting, deadAtMs, failure } = letter
  return [
    channel,
    offset,
    type,
    key ?? '',
    attempts,
    waiting,
    new Date(deadAtMs).toISOString(),
    `${failure.name}: ${failure.message}`.slice(0, 80),
  ]
}

export async function deadShowCommand(consumer: string, options: DeadOptions): Promise<void> {
  const letters = await looking(options, (broker) => broker.deadLetters(consumer).list(queryOf(options)))
  if (letters.length === 0)
    throw new MillraceError('UNKNOWN_DEAD_LETTER', `consumer "${consumer}" has no such dead letter`, { consumer })
  for (const letter of letters) {
    if (options.json === true) printJson(letter)
    else {
      print(colour('bold', `${letter.channel}/${letter.offset} ${letter.type}`))
      print(
        `  ${letter.attempts} attempt(s), given up ${new Date(letter.deadAtMs).toISOString()}, ${letter.waiting} event(s) wait behind it`,
      )
      print(`  ${colour('red', `${letter.failure.name}: ${letter.failure.message}`)}`)
      if (letter.failure.stack !== undefined) print(letter.failure.stack.split('\n').slice(1, 6).join('\n'))
      print(JSON.stringify(JSON.parse(letter.text), null, 2).replaceAll(/^/gm, '  '))
    }
  }
  complete(`${letters.length} dead letter(s) of ${consumer}`, options)
}

/** A command that changes dead letters must select them, or have --all. */
function chosen(options: DeadOptions): DeadLetterQuery {
  const query = queryOf(options)
  if (options.all === true || Object.keys(query).length > 0) return query
  throw new MillraceError(
    'INVALID_OPTION',
    'name the dead letters: --all, or --channel, --offset, --id, --key, --limit',
    { option: 'all' },
  )
}

export async function deadRedriveCommand(consumer: string, options: DeadOptions): Promise<void> {
  const count = await changing(options, (broker) =>
    broker.deadLetters(consumer).redrive(chosen(options), noteOf(options)),
  )
  if (options.json === true) printJson({ consumer, redriven: count })
  complete(`gave ${count} dead letter(s) back to ${consumer}, which handles them when it runs`, options)
}

export async function deadDropCommand(consumer: string, options: DeadOptions): Promise<void> {
  const count = await changing(options, (broker) => broker.deadLetters(consumer).drop(chosen(options), noteOf(options)))
  if (options.json === true) printJson({ consumer, dropped: count })
  complete(`dropped ${count} dead letter(s) of ${consumer}`, options)
}
