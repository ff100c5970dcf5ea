/** `millrace publish`: one event from the options, or many from JSON lines in a file or on standard input. */
import { closeSync, createReadStream, fstatSync, openSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { progress } from '@clack/prompts'
import { MillraceError } from '../base/errors.ts'
import type { Broker, UntypedEvent } from '../broker/broker.ts'
import { engineOf } from '../broker/engine-of.ts'
import type { Receipt } from '../broker/receipt.ts'
import { stream } from '../channel/channel.ts'
import { complete, print, printJson } from './output.ts'
import { changing, jsonOf, reading, type TargetOptions, writing } from './target.ts'

export interface PublishCommandOptions extends TargetOptions {
  readonly type?: string
  readonly payload?: string
  readonly key?: string
  readonly id?: string
  readonly source?: string
  readonly file?: string
  readonly create?: boolean
}

/** Lines that are published in one commit. */
const BATCH = 1000

/** Options for a single event, which have no meaning for lines that are whole events. */
const OF_ONE = ['payload', 'key', 'id', 'source'] as const

export async function publishCommand(channel: string, options: PublishCommandOptions): Promise<void> {
  const vain = options.file === undefined ? undefined : OF_ONE.find((name) => options[name] !== undefined)
  if (vain !== undefined)
    throw new MillraceError('INVALID_OPTION', `--${vain} means nothing with --file: each line says its own`, {
      option: vain,
    })
  const input = options.file === undefined ? null : opened(options.file)
  await (options.create === true ? writing : changing)(options, async (broker) => {
    if (options.create === true) await created(broker, channel)
    const counts =
      input === null ? await publishOne(broker, channel, options) : await publishLines(broker, channel, options, input)
    if (options.json === true) printJson({ channel, ...counts })
    complete(`published ${counts.stored} event(s) to ${channel}, ${counts.duplicates} duplicate(s)`, options)
  })
}

/**
 * Create the channel if it does not exist. An existing channel keeps the application's declaration: retention, key and
 * schemas.
 */
async function created(broker: Broker, channel: string): Promise<void> {
  const engine = engineOf(broker)
  if ((await engine.channel(channel)) === undefined) await broker.declare(stream(channel))
}

interface Counts {
  stored: number
  duplicates: number
  /** The receipts of a single event. With a file, each receipt is printed at once, and the counts at the end. */
  receipts?: readonly Receipt[]
}

async function publishOne(broker: Broker, channel: string, options: PublishCommandOptions): Promise<Counts> {
  if (options.type === undefined)
    throw new MillraceError('INVALID_OPTION', 'publish needs --type and --payload, or --file', { option: 'type' })
  const event: UntypedEvent = {
    type: options.type,
    ...(options.payload !== undefined && { data: jsonOf(options.payload, '--payload') }),
    ...(options.key !== undefined && { partitionkey: options.key }),
    ...(options.id !== undefined && { id: options.id }),
    ...(options.source !== undefined && { source: options.source }),
  }
  const receipt = await broker.publish(channel, event)
  if (options.json !== true) print(receiptText(receipt))
  return { stored: receipt.duplicate ? 0 : 1, duplicates: receipt.duplicate ? 1 : 0, receipts: [receipt] }
}

function receiptText(receipt: Receipt): string {
  if (receipt.offset !== null)
    return `${receipt.channel}/${receipt.offset} ${receipt.id}${receipt.duplicate ? ' (duplicate)' : ''}`
  return `${receipt.channel} ${receipt.id} (duplicate of a delayed event, due ${new Date(receipt.dueAtMs).toISOString()})`
}

interface Lines {
  readonly file: string
  readonly input: Readable
  /** Zero if it is not known. */
  readonly totalBytes: number
}

/** @throws INVALID_OPTION when the file cannot be read */
function opened(file: string): Lines {
  if (file === '-') return { file, input: process.stdin, totalBytes: 0 }
  const { fd, size } = reading(file, (path) => {
    const descriptor = openSync(path, 'r')
    const stats = fstatSync(descriptor)
    if (!stats.isDirectory()) return { fd: descriptor, size: stats.size }
    closeSync(descriptor)
    throw new Error('it is a directory')
  })
  return { file, input: createReadStream(file, { fd }), totalBytes: size }
}

async function publishLines(
  broker: Broker,
  channel: string,
  options: PublishCommandOptions,
  { file, input, totalBytes }: Lines,
): Promise<Counts> {
  const counts: Counts = { stored: 0, duplicates: 0 }
  const bar =
    process.stderr.isTTY && options.json !== true && totalBytes > 0
      ? progress({ max: totalBytes, output: process.stderr })
      : null
  bar?.start(`publishing ${file}`)
  let batch: UntypedEvent[] = []
  let line = 0
  let bytes = 0
  const send = async (): Promise<void> => {
    if (batch.length === 0) return
    const receipts: Receipt[] = await broker.publish(channel, batch)
    for (const receipt of receipts) {
      counts[receipt.duplicate ? 'duplicates' : 'stored']++
      if (options.json === true) printJson(receipt)
    }
    bar?.advance(bytes, `${counts.stored} events`)
    batch = []
    bytes = 0
  }
  for await (const text of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    line++
    bytes += text.length + 1
    if (text.trim() === '') continue
    batch.push(eventOf(jsonOf(text, `line ${line} of ${file}`), options, line))
    if (batch.length >= BATCH) await send()
  }
  await send()
  bar?.stop(`${counts.stored} events`)
  return counts
}

/** A line is a CloudEvent, or, with --type, the data of one. */
function eventOf(value: unknown, options: PublishCommandOptions, line: number): UntypedEvent {
  if (options.type !== undefined) return { type: options.type, data: value }
  if (typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string')
    return value as UntypedEvent
  throw new MillraceError(
    'INVALID_EVENT',
    `line ${line} is not a CloudEvent: it has no "type". Give one for all lines with --type`,
    { line },
  )
}
