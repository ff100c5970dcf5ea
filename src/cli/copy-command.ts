/** `millrace copy`: copies all or some channels of one broker to another. */
import { existsSync, realpathSync } from 'node:fs'
import { MillraceError } from '../base/errors.ts'
import { durationMs } from '../base/units.ts'
import type { Broker } from '../broker/broker.ts'
import { engineOf } from '../broker/engine-of.ts'
import { type CopyReport, copyBroker } from '../copy/copy.ts'
import { type CopyPlan, type CopySelection, planCopy } from '../copy/copy-plan.ts'
import { directoryOf } from '../engines/embedded/directory-url.ts'
import { connect } from '../index.ts'
import { ProgressLine } from './copy-progress.ts'
import { colour, complete, EXIT, type OutputOptions, print, printJson, table } from './output.ts'
import { countOf, nameOf } from './target.ts'

export interface CopyCommandOptions extends OutputOptions {
  readonly from: string
  readonly to: string
  readonly channels?: string
  readonly consumers?: string
  readonly dryRun?: boolean
  readonly follow?: boolean
  readonly accept?: string
  readonly quiet?: string
}

const QUIET = '3s'

/** @throws INVALID_OPTION when a name is empty */
function names(option: string, text: string): string[] {
  const found = text.split(',').map((name) => name.trim())
  if (!found.includes('')) return found
  throw new MillraceError(
    'INVALID_OPTION',
    `--${option} must be names with a comma between; it is "${text.slice(0, 40)}"`,
    { option },
  )
}

export async function copyCommand(options: CopyCommandOptions): Promise<void> {
  const { from, to, channels, consumers, accept } = options
  if (targetOf(from) === targetOf(to))
    throw new MillraceError('INVALID_OPTION', '--from and --to are the same broker', { option: 'to' })
  const selection: CopySelection = {
    ...(accept !== undefined && { accept: names('accept', accept).map((clause) => countOf('accept', clause, 1)) }),
    ...(channels !== undefined && { channels: names('channels', channels) }),
    ...(consumers !== undefined && { consumers: names('consumers', consumers) }),
  }
  if (options.quiet !== undefined && options.follow !== true)
    throw new MillraceError('INVALID_OPTION', '--quiet means nothing without --follow', { option: 'quiet' })
  durationMs(options.quiet ?? QUIET, 'quiet')
  const source = await connect(from, { readOnly: from.startsWith('file:') })
  try {
    const target = await connect(to, { source: '/millrace/copy' })
    try {
      await run(source, target, selection, options)
    } finally {
      await target.close()
    }
  } finally {
    await source.close()
  }
}

/** A directory as its real path, however it was written; any other broker as its URL. */
function targetOf(url: string): string {
  if (!url.startsWith('file:')) return url
  const directory = directoryOf(url)
  return existsSync(directory) ? realpathSync(directory) : directory
}

async function run(
  source: Broker,
  target: Broker,
  selection: CopySelection,
  options: CopyCommandOptions,
): Promise<void> {
  const plan = await planCopy(engineOf(source), engineOf(target), selection)
  if (options.json !== true) show(plan)
  if (options.dryRun === true) {
    if (options.json === true) printJson(planJson(plan))
    if (plan.refusals.length > 0) process.exitCode = EXIT.failed
    else complete('nothing was copied (--dry-run)', options)
    return
  }
  const report = await copied(source, target, selection, options)
  if (options.json === true) printJson({ ...planJson(plan), copied: report.channels })
  else print(table(['channel', 'events', 'scheduled', 'checksum', ''], report.channels.map(rowOf)))
  const events = report.channels.reduce((sum, channel) => sum + channel.events, 0)
  complete(
    `${report.channels.length} channel(s) with ${events} event(s) are the same at ${nameOf({ url: options.to })}`,
    options,
  )
}

async function copied(
  source: Broker,
  target: Broker,
  selection: CopySelection,
  { from, json, follow, quiet = QUIET }: CopyCommandOptions,
): Promise<CopyReport> {
  const stop = new AbortController()
  const interrupt = (): void => stop.abort(new Error('stopped: run the same command again to continue'))
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  const line = json === true ? null : new ProgressLine()
  const quietMs = durationMs(quiet, 'quiet')
  try {
    return await copyBroker(source, target, {
      ...selection,
      name: nameOf({ url: from }),
      signal: stop.signal,
      ...(follow === true && { quietMs }),
      progress: (progress) => line?.update(progress),
      following: () =>
        line?.say(
          `everything is copied, and new events are copied as they come. Stop the application when it suits: the copy ends when nothing has changed for ${quiet}`,
        ),
    })
  } finally {
    line?.end()
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
  }
}

function rowOf({
  channel,
  events,
  scheduled,
  checksum,
  state,
  expired,
}: CopyReport['channels'][number]): (string | number)[] {
  const note = state === 'already' ? 'copied before' : expired > 0 ? `${expired} expired meanwhile` : ''
  return [channel, events, scheduled, checksum, note]
}

function planJson({ channels, ...plan }: CopyPlan): object {
  const shown = channels.map(({ spec, consumers, ...counts }) => ({
    channel: spec.name,
    kind: spec.kind,
    ...counts,
    consumers: consumers.flatMap(({ consumer, workers }) => (consumer === null ? workers : [consumer])),
  }))
  return { ...plan, channels: shown }
}

/** Print what would be copied, and how the target supports it. */
function show({ from, to, channels, needs, keepsTimes, refusals }: CopyPlan): void {
  print(colour('bold', `${from} → ${to}`))
  const rows = channels.map(({ spec, events, bytes, scheduled, consumers, deadLetters, waiting }) => [
    ...[spec.name, spec.kind, events, bytes ?? '?', scheduled],
    consumers.reduce((sum, { consumer, workers }) => sum + (consumer === null ? workers.length : 1), 0),
    ...[deadLetters, waiting],
  ])
  print(table(['channel', 'kind', 'events', 'bytes', 'scheduled', 'consumers', 'dead letters', 'waiting'], rows))
  print('')
  const held = needs.map(({ clause, name, support, reason, cost }) => [
    `${clause} ${name}`,
    support,
    cost === undefined ? reason : `${reason} (${cost})`,
  ])
  print(table(['clause', 'there', 'with'], held))
  print(
    keepsTimes
      ? 'events keep the times at which they were stored'
      : 'events get the time of the copy: retention by age and reading from a time begin with it',
  )
  for (const refusal of refusals) print(`${colour('red', 'refused')} ${refusal}`)
  print('')
}
